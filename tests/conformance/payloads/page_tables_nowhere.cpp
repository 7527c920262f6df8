// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// says: hv: stopped: outside memory (a guest page table)
// judges: a guest whose page tables point where there is no memory is stopped, not looped over.
// reference: no, QEMU reads absent memory as something.
#include "payload.hpp"

void payload::run() {
    asm volatile("mov %0, %%cr3; nop; nop" ::"r"(payload::u64{0xe0000000}));
    fail("the guest runs on without page tables");
}
