// SPDX-License-Identifier: BSD-2-Clause
// expect: 124
// judges: a guest that does nothing but exit, with interrupts off, keeps nobody from stopping it.
#include "payload.hpp"

void payload::run() {
    for (;;)
        (void)cpuid(0);
}
