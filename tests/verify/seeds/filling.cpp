// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

// What fills the return predictor behind an exit, and what only resembles it: a call too few, another place behind the
// call, the stack pointer not back, no LFENCE, a jump into the middle, a return in the trap's place.
auto serve(unsigned long exit) -> bool {
#if defined(SEED_FEW)
    asm volatile(".rept 31\n\tcall 1f\n\tint3\n1:\n\t.endr\n\tadd $248, %%rsp\n\tlfence" : : : "memory", "cc");
#elif defined(SEED_MANY)
    asm volatile(".rept 33\n\tcall 1f\n\tint3\n1:\n\t.endr\n\tadd $256, %%rsp\n\tpop %%rax\n\tlfence"
                 :
                 :
                 : "memory", "cc", "rax");
#elif defined(SEED_NEXT)
    asm volatile(".rept 32\n\tcall 1f\n1:\n\t.endr\n\tadd $256, %%rsp\n\tlfence" : : : "memory", "cc");
#elif defined(SEED_UNBALANCED)
    asm volatile(".rept 32\n\tcall 1f\n\tint3\n1:\n\t.endr\n\tadd $264, %%rsp\n\tlfence" : : : "memory", "cc");
#elif defined(SEED_UNFENCED)
    asm volatile(".rept 32\n\tcall 1f\n\tint3\n1:\n\t.endr\n\tadd $256, %%rsp" : : : "memory", "cc");
#elif defined(SEED_RETURN)
    asm volatile(".rept 32\n\tcall 1f\n\tret\n1:\n\t.endr\n\tadd $256, %%rsp\n\tlfence" : : : "memory", "cc");
#elif defined(SEED_MIDDLE)
    asm volatile("test %0, %0\n\tjz 2f\n\t.rept 31\n\tcall 1f\n\tint3\n1:\n\t.endr\n2:\n\tcall 1f\n\tint3\n1:\n\t"
                 "add $256, %%rsp\n\tlfence"
                 :
                 : "r"(exit)
                 : "memory", "cc");
#else
    asm volatile(".rept 32\n\tcall 1f\n\tint3\n1:\n\t.endr\n\tadd $256, %%rsp\n\tlfence" : : : "memory", "cc");
#endif
    return (exit & 1) != 0;
}
