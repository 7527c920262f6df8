// SPDX-License-Identifier: BSD-2-Clause
// Where another processor starts: a copy of this piece in a page below 1 MiB, in real mode, CS:IP = page:0. SDM Vol. 3A,
// "Multiple-Processor (MP) Initialization". From there to long mode in one step, with the tables of boot.S, which map
// the image executable; the C++ side changes to those that stay.

.section .text.trampoline, "ax"
.code16
.globl hv_bare_trampoline
hv_bare_trampoline:
    cli
    cld
    movl $0x620, %eax // PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $boot_page_map, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx // IA32_EFER
    rdmsr
    orl $0x900, %eax // LME, NXE
    wrmsr
    lgdtl %cs:(trampoline_gdtr - hv_bare_trampoline)
    movl $0x80010033, %eax // PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    ljmpl $0x08, $another_processor
.balign 8
trampoline_gdtr:
    .word 3 * 8 - 1
    .long boot_gdt
.globl hv_bare_trampoline_end
hv_bare_trampoline_end:

.code64
.type another_processor, @function
another_processor:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq hv_bare_starting_stack, %rsp
    movq hv_bare_starting_processor, %rdi
    xorl %ebp, %ebp // the last frame of every backtrace
    call hv_bare_start_processor
1:  cli
    hlt
    jmp 1b
.size another_processor, . - another_processor

.section .note.GNU-stack, "", @progbits
