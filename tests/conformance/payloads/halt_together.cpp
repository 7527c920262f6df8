// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// processors: 4
// says: hv: stopped: halted
// reference: no, QEMU waits for ever.
// storm: yes
// judges: A machine is stopped as soon as its last processor halts with interrupts off, whichever that is.
#include "processors.hpp"

using namespace payload;

namespace {

shared_count ready, sleeping;

/// One after the other, the first processor first.
void sleep_in_turn() {
    (void)sleeping.reaches(own_number());
    pass(1);
    sleeping.add();
    asm volatile("cli; hlt");
    fail("HLT with interrupts off came to an end");
    leave(1);
}
void other() {
    ready.add();
    sleep_in_turn();
}

} // namespace

void payload::run() {
    if (start_all(other, ready))
        sleep_in_turn();
}
