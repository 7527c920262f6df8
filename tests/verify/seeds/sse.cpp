// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto serve(unsigned long) -> bool {
    asm volatile("pxor %xmm3, %xmm3");
    return true;
}
