// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: a guest that writes 0 to the exit port has succeeded.
#include "payload.hpp"

void payload::run() {
    leave(0);
}
