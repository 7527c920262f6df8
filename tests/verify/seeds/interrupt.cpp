// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

// An interrupt entry is a root of its own, though nothing calls it.
extern "C" void interrupt();
asm(".text\n.globl hv_bare_vector_32\n.type hv_bare_vector_32, @function\nhv_bare_vector_32:\n"
    " push %rax\n mov %rsp, %rbx\n and $-16, %rsp\n call interrupt\n mov %rbx, %rsp\n pop %rax\n iretq\n"
    ".size hv_bare_vector_32, . - hv_bare_vector_32");
void (*volatile hook)(){};
void interrupt() {
#ifdef SEED_CLEAN
    state = 2;
#else
    hook();
    state = 2;
#endif
}

auto serve(unsigned long exit) -> bool {
    return exit != 0;
}
