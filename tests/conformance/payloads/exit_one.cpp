// SPDX-License-Identifier: BSD-2-Clause
// expect: 1
// judges: a guest that writes 1 to the exit port has failed, and everybody hears of it.
#include "payload.hpp"

void payload::run() {
    leave(1);
}
