// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// shares: 1
// long: 2400
// not on bochs-svm: thirteen times 100,000 take too long there; ipi_forms sends 1,000.
// not on bochs-vmx: thirteen times 100,000 take too long there; ipi_forms sends 1,000.
// judges: Of 100,000 IPIs of every form to halted and spinning processors each arrives, once, and at nobody else's.
// reference: no, QEMU has no x2APIC.
#include "ipi_forms.hpp"

void payload::run() {
    ipi_forms::judge_all(100'000);
}
