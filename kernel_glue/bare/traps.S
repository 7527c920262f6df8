// SPDX-License-Identifier: BSD-2-Clause
// One entry for each vector, sixteen bytes apart, all leading to one C++ function.

.section .text.traps, "ax"
.set with_error_code, 0x60227d00 // 8, 10-14, 17, 21, 29, 30
.altmacro
.macro entry n
    .org hv_bare_vectors + 16 * \n, 0xcc // where its gate points: refuses an entry of more than 16 bytes
    .globl hv_bare_vector_\n
    .type hv_bare_vector_\n, @function
hv_bare_vector_\n:
    .if \n > 31
    pushq $0
    .elseif (with_error_code >> \n) == 2 * (with_error_code >> (\n + 1)) // bit n is clear
    pushq $0
    .endif
    pushq $\n
    jmp hv_bare_trap
    .size hv_bare_vector_\n, . - hv_bare_vector_\n
.endm

.balign 16
.globl hv_bare_vectors
hv_bare_vectors:
.set n, 0
.rept 256
    entry %n
    .set n, n + 1
.endr
.noaltmacro

.globl hv_bare_trap
.type hv_bare_trap, @function
hv_bare_trap:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    call hv_bare_serve_trap
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    iretq
.size hv_bare_trap, . - hv_bare_trap

// auto hv_bare_try_read_msr(index, value*) -> bool, hv_bare_try_write_msr(index, value) -> bool. The #GP handler knows
// the two instructions that may fault by their addresses and continues at hv_bare_msr_fault.
.globl hv_bare_try_read_msr
.type hv_bare_try_read_msr, @function
hv_bare_try_read_msr:
    movl %edi, %ecx
.globl hv_bare_read_msr_instruction
hv_bare_read_msr_instruction:
    rdmsr
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, (%rsi)
    movl $1, %eax
    ret
.size hv_bare_try_read_msr, . - hv_bare_try_read_msr

.globl hv_bare_try_write_msr
.type hv_bare_try_write_msr, @function
hv_bare_try_write_msr:
    movl %edi, %ecx
    movl %esi, %eax
    movq %rsi, %rdx
    shrq $32, %rdx
.globl hv_bare_write_msr_instruction
hv_bare_write_msr_instruction:
    wrmsr
    movl $1, %eax
    ret
.globl hv_bare_msr_fault
hv_bare_msr_fault:
    xorl %eax, %eax
    ret
.size hv_bare_try_write_msr, . - hv_bare_try_write_msr

.section .note.GNU-stack, "", @progbits
