// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

// An interrupt entry is a root of its own, though nothing calls it.
extern "C" void interrupt();
asm(R"(
.altmacro
.macro entry n
    .globl hv_bare_vector_\n
    .type hv_bare_vector_\n, @function
hv_bare_vector_\n:
    .if \n > 31
    push $0
    .elseif (0x60227d00 >> \n) == 2 * (0x60227d00 >> (\n + 1)) // no error code
    push $0
    .endif
    jmp trap
    .size hv_bare_vector_\n, . - hv_bare_vector_\n
.endm
.text
.set n, 0
.rept 256
    entry %n
    .set n, n + 1
.endr
.noaltmacro
.type trap, @function
trap:
    push %rax
    mov %rsp, %rbx
    and $-16, %rsp
    call interrupt
    mov %rbx, %rsp
    pop %rax
    add $8, %rsp
    iretq
.size trap, . - trap
)");
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
