// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 2
// also with: 4
// judges: Of 120 IPIs of every form to halted and spinning processors each arrives, once, and at nobody else's.
#include "ipi_forms.hpp"

void payload::run() {
    ipi_forms::judge_all(120);
}
