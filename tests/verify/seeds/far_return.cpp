// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto serve(unsigned long) -> bool {
    asm volatile("lretq");
    return true;
}
