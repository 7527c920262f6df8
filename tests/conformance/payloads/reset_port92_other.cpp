// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// says: hv: stopped: reset
// judges: Any processor may reset the machine by port 92h, whatever the others do.
#include "ends.hpp"

void payload::run() {
    end_by([] { out8(0x92, static_cast<u8>((in8(0x92) & ~1u) | 1)); });
}
