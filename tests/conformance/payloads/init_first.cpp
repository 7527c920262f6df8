// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// says: hv: stopped: reset
// reference: no, QEMU starts the first processor at its firmware.
// judges: INIT to the first processor resets a machine that has no firmware to start it again.
#include "ends.hpp"

void payload::run() {
    end_by([] { lapic::send(ipi::init, 0); });
}
