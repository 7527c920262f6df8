// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto serve(unsigned long) -> bool {
    asm volatile(".byte 0x06"); // PUSH ES, which 64-bit mode does not have
    return true;
}
