// SPDX-License-Identifier: BSD-2-Clause
// Real-mode code: programs the 8259, counts the device down, and waits for its interrupt.
.code16
.globl _start
_start:
    cli
    movw $on_interrupt, 0x2d * 4        // line 5 arrives at vector 0x28 + 5
    movw $0, 0x2d * 4 + 2
    movb $0x11, %al                     // ICW1: edge, cascade, ICW4 follows
    outb %al, $0x20
    movb $0x28, %al                     // ICW2: vectors from 0x28
    outb %al, $0x21
    movb $0x04, %al
    outb %al, $0x21
    movb $0x01, %al                     // ICW4: 8086 mode
    outb %al, $0x21
    movb $0xdf, %al                     // all masked but line 5
    outb %al, $0x21
    movw $0x510, %dx
    movb $3, %al
    outb %al, %dx
    incw %dx
    outb %al, %dx
    outb %al, %dx
    sti
    outb %al, %dx                       // the third write: the interrupt
    hlt
    movl $1, %eax                       // came back without it
    jmp end
on_interrupt:
    movw $text, %si
    movw $0xe9, %dx
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  xorl %eax, %eax
end:
    movw $0xf4, %dx
    outl %eax, %dx
    hlt
text:
    .asciz "the countdown's interrupt came\n"
