// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

asm(".text\n.type falls, @function\nfalls: nop\n.size falls, . - falls\n.type next, @function\nnext: ret\n.size next, "
    ". - next");
extern "C" void falls();

auto serve(unsigned long exit) -> bool {
    falls();
    return exit != 0;
}
