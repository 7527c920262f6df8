// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a guest that fetches instructions from a device reads ones, which are no instruction: #UD.
// reference: no, QEMU itself ends with an error.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    auto const fetch = attempt([] { asm volatile("call *%0" ::"r"(u64{0xfee00000})); });
    expect_equal(fetch.vector, vector::undefined, "the exception");
    expect_equal(fetch.rip, 0xfee00000, "its address");
}
