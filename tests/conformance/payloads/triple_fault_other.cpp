// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// processors: 4
// says: hv: stopped: triple fault
// not on bochs-svm: Bochs 2.7 does not honour the SHUTDOWN intercept and ends itself.
// judges: A triple fault of any processor ends the machine, whatever the others do.
#include "ends.hpp"

void payload::run() {
    end_by([] {
        struct [[gnu::packed]] {
            u16 limit{};
            u64 base{};
        } const nothing;
        asm volatile("lidt %0; ud2" ::"m"(nothing));
    });
}
