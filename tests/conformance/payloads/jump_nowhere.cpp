// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a guest that fetches instructions where there is no memory reads ones, which are no instruction: #UD.
// reference: no, QEMU itself ends with an error.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    auto const fetch = attempt([] { asm volatile("call *%0" ::"r"(u64{0xe0000000})); });
    expect_equal(fetch.vector, vector::undefined, "the exception");
    expect_equal(fetch.rip, 0xe0000000, "its address");
}
