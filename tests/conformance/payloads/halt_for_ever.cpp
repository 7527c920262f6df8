// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// says: hv: stopped: halted
// judges: a machine of which every processor halts with interrupts off can never run again, and is stopped.
// reference: no, QEMU waits for ever.
#include "payload.hpp"

void payload::run() {
    asm volatile("cli; hlt");
    fail("HLT with interrupts off came to an end");
}
