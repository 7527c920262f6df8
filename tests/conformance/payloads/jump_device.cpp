// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// judges: a guest that fetches instructions from a device is stopped: no device has code.
// reference: no, QEMU itself ends with an error.
#include "payload.hpp"

void payload::run() {
    asm volatile("call *%0" ::"r"(u64{0xfee00000}));
    fail("the guest came back from a device");
}
