// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// smoke: yes
// not on bochs-svm: Bochs 2.7 does not honour the SHUTDOWN intercept and ends itself.
// says: hv: stopped: triple fault
// judges: a fault that cannot be delivered at all shuts the guest down, and the hypervisor says so.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    struct [[gnu::packed]] {
        u16 limit{};
        u64 base{};
    } const nothing;
    asm volatile("lidt %0; ud2" ::"m"(nothing));
    fail("the guest runs on after a triple fault");
}
