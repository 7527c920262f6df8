// SPDX-License-Identifier: BSD-2-Clause
// expect: 124
// judges: a guest that raises #UD for ever keeps nobody from stopping it.
#include "payload.hpp"

void payload::run() {
    set_handler(vector::undefined, [](frame&) {});
    asm volatile("ud2");
}
