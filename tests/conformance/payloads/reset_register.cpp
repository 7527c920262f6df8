// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: 6 in port CF9h resets the machine, which ends the run; a wider access there does not.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    (void)tsc_per_ms();
    out32(0xcf8, 0x06060606); // the PCI address register, which lies around it
    wait_ms(5);
    out8(0xcf9, 2); // no reset without bit 2
    wait_ms(5);
    out8(0xcf9, 6);
    wait_ms(50);
    fail("the machine was not reset");
}
