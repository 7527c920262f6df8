// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto serve(unsigned long exit) -> bool {
    switch (exit) { // compiled with jump tables allowed
    case 0:
        state = 17;
        return true;
    case 1:
        asm volatile("nop");
        return false;
    case 2:
        state = 3;
        return true;
    case 3:
        asm volatile("pause");
        return true;
    case 4:
        state = state + 5;
        return true;
    case 5:
        asm volatile("cli");
        return false;
    default:
        return true;
    }
}
