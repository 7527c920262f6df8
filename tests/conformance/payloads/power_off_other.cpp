// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// says: hv: stopped: power off
// judges: Any processor may power the machine off, whatever the others do.
#include "ends.hpp"

using namespace payload;

void payload::run() {
    end_by([] {
        out16(pm::control, static_cast<u16>(5u << 10 | 1u << 13 | 1u));
        pass(10);
        out16(pm::control, static_cast<u16>(1u << 13 | 1u)); // QEMU's S5 is type 0
    });
}
