// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// smoke: yes
// judges: CR8 and the task-priority register are one, and hold back interrupts of their class and below.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    lapic::enable();
    for (unsigned v{0x40}; v != 0xff; ++v)
        set_handler(v, lapic::acknowledge);
    for (u64 p{}; p != 16; ++p) {
        write_cr8(p);
        expect_equal(lapic::read(lapic::tpr), p << 4, "TPR after a write of CR8");
        expect_equal(read_cr8(), p, "CR8");
    }
    lapic::write(lapic::tpr, 0x5a);
    expect_equal(read_cr8(), 5, "CR8 after a write of TPR");
    expect_equal(lapic::read(lapic::tpr), 0x5a, "TPR keeps its sub-class");

    for (unsigned p{}; p != 16; ++p) {
        write_cr8(p);
        auto const below = count_of(0x6f), above = count_of(0x70);
        lapic::send(0x4006f);
        lapic::send(0x40070);
        sti();
        wait_ms(1);
        cli();
        expect_equal(count_of(0x6f) - below, p < 6 ? 1 : 0, "vector 6fh against the task priority");
        expect_equal(count_of(0x70) - above, p < 7 ? 1 : 0, "vector 70h against the task priority");
        write_cr8(0); // lowering it lets in what waited
        sti();
        wait_ms(1);
        cli();
        expect_equal(count_of(0x6f) - below, 1, "vector 6fh once the priority fell");
        expect_equal(count_of(0x70) - above, 1, "vector 70h once the priority fell");
    }
}
