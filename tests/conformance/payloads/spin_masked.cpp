// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// not on bochs-svm: In Bochs 2.7 no host interrupt ends a stay in the guest that began with RFLAGS.IF clear.
// judges: a timer requests its interrupt in time while the guest computes with interrupts off and exits for nothing.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    pic::initialise();
    (void)tsc_per_ms();
    pit::start(0, 0, 100);
    wait_ms(2);
    out8(0x20, 0x0a);
    expect_equal(in8(0x20) & 1, 1, "the timer's request");
}
