// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto serve(unsigned long) -> bool {
    asm volatile("fld1\n\tfstpl %0" : "=m"(state));
    return true;
}
