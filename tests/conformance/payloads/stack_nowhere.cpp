// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// says: hv: stopped: outside memory
// judges: a guest whose stack points where there is no memory ends in a shutdown, not in a loop of the hypervisor.
// reference: no, QEMU has bytes everywhere: writes to nothing vanish.
#include "payload.hpp"

void payload::run() {
    asm volatile("mov %0, %%rsp; ud2" ::"r"(payload::u64{0xe0000000}));
    fail("the guest runs on without a stack");
}
