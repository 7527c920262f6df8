// SPDX-License-Identifier: BSD-2-Clause
// expect: 1
// judges: the exit port takes a byte as well as 32 bits, and any code but 0 is a failure.
#include "payload.hpp"

void payload::run() {
    out8(0xf4, 1);
    fail("the exit port ignored a byte");
    leave(0);
}
