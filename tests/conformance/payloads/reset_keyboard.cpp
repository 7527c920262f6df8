// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: command FEh of the keyboard controller resets the machine, which ends the run.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    (void)tsc_per_ms();
    out8(0x64, 0xfe);
    wait_ms(50);
    fail("the machine was not reset");
}
