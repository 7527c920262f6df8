// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 2
// also with: 4
// judges: Of many IPIs of every form to halted and spinning processors each arrives, once, and at nobody else's.
// reference: no, QEMU has no x2APIC.
#include "ipi_forms.hpp"

void payload::run() {
    ipi_forms::judge_all(processor_count() == 2 ? 1000 : 120); // more of them may have to wait for their turn each time
}
