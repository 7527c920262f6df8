// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// judges: a guest that fetches instructions where there is no memory is stopped, and the hypervisor says where.
// reference: no, QEMU itself ends with an error.
#include "payload.hpp"

void payload::run() {
    asm volatile("call *%0" ::"r"(u64{0xe0000000}));
    fail("the guest came back from nowhere");
}
