// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto serve(unsigned long exit) -> bool {
    asm volatile("push %0\n\tret" : : "r"(exit)); // a jump through a register that looks like a return
    return true;
}
