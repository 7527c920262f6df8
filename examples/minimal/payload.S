// SPDX-License-Identifier: BSD-2-Clause
// Real-mode code at 0000:7c00: prints a line on the debug port and ends with status 0.
.code16
.globl _start
_start:
    movw $text, %si
    movw $0xe9, %dx
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  xorl %eax, %eax
    movw $0xf4, %dx
    outl %eax, %dx
    hlt
text:
    .asciz "hello from real mode\n"
