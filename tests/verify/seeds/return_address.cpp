// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

asm(".text\n.type trick, @function\ntrick: mov %rdi, (%rsp)\n ret\n.size trick, . - trick");
extern "C" void trick(unsigned long);

auto serve(unsigned long exit) -> bool {
    trick(exit);
    return exit != 0;
}
