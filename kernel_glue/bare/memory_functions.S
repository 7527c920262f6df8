// SPDX-License-Identifier: BSD-2-Clause
// The functions that a freestanding compiler and std::string_view call on their own. Not in C++: at -O2 a compiler may
// turn the loop of memcpy into a call of memcpy. Those that move a guest's kernel go by words: an emulator executes one
// step for each, whatever its width.

.section .text.memory_functions, "ax"
.macro function name
    .balign 16
    .globl \name
    .type \name, @function
\name:
.endm
.macro end name
    .size \name, . - \name
.endm

function memcpy
    movq %rdi, %rax
    movq %rdx, %rcx
    shrq $3, %rcx
    rep movsq
    movl %edx, %ecx
    andl $7, %ecx
    rep movsb
    ret
end memcpy

function memset
    movq %rdi, %r8
    movzbl %sil, %eax
    movabsq $0x0101010101010101, %rcx
    imulq %rcx, %rax
    movq %rdx, %rcx
    shrq $3, %rcx
    rep stosq
    movl %edx, %ecx
    andl $7, %ecx
    rep stosb
    movq %r8, %rax
    ret
end memset

function memmove
    movq %rdi, %rax
    movq %rdx, %rcx
    movq %rdi, %r8
    subq %rsi, %r8
    cmpq %rdx, %r8 // destination inside the source: from the end
    jb 1f
    rep movsb
    ret
1:  leaq -1(%rdi,%rdx), %rdi
    leaq -1(%rsi,%rdx), %rsi
    std
    rep movsb
    cld
    ret
end memmove

function memcmp
    movq %rdx, %rcx
    xorl %eax, %eax // ZF as well: equal when there is nothing to compare
    repe cmpsb
    je 1f
    movzbl -1(%rdi), %eax
    movzbl -1(%rsi), %ecx
    subl %ecx, %eax
1:  ret
end memcmp

function memchr
    movl %esi, %eax
    movq %rdx, %rcx
    testq %rcx, %rcx
    jz 1f
    repne scasb
    jne 1f
    leaq -1(%rdi), %rax
    ret
1:  xorl %eax, %eax
    ret
end memchr

function strlen
    xorl %eax, %eax
    movq $-1, %rcx
    repne scasb
    notq %rcx
    leaq -1(%rcx), %rax
    ret
end strlen

.section .note.GNU-stack, "", @progbits
