// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: CR8 that falls class by class lets in one waiting interrupt a step, the one of its class, at once.
// also on: pc_vmx_apicv
#include "devices.hpp"

using namespace payload;

void payload::run() {
    lapic::enable();
    for (unsigned c{2}; c != 16; ++c)
        set_handler(c << 4, lapic::acknowledge);
    for (unsigned round{}; round != 2; ++round) {
        write_cr8(15);
        for (unsigned c{2}; c != 16; ++c)
            lapic::send(0x40000 | c << 4);
        sti();
        for (unsigned c{15}; c >= 2; --c) {
            expect_equal(count_of(c << 4), round, "a vector of the present class");
            write_cr8(c - 1);
            wait_ms(1);
            expect_equal(count_of(c << 4), round + 1, "the vector of the class that was left");
            expect_equal(count_of((c - 1) << 4), c == 2 ? 0 : round, "the vector of the class below");
        }
        cli();
        write_cr8(0);
    }
}
