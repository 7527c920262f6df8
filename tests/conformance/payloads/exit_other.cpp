// SPDX-License-Identifier: BSD-2-Clause
// expect: 1
// processors: 4
// judges: The exit port ends the machine by any processor, whatever the others do.
#include "ends.hpp"

void payload::run() {
    end_by([] { leave(1); });
}
