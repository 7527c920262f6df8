// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// says: hv: stopped: reset
// judges: Any processor may reset the machine by port CF9h, whatever the others do.
#include "ends.hpp"

void payload::run() {
    end_by([] { out8(0xcf9, 6); });
}
