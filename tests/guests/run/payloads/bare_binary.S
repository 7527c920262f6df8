// SPDX-License-Identifier: BSD-2-Clause
// A Multiboot kernel without ELF headers: its own header says where it goes. Prints a line on the debug port.
        .set flags, 0x00010003
        .code32
        .global start
start:
header: .long 0x1badb002, flags, -(0x1badb002 + flags)
        .long header, start, 0, 0, entry
entry:  mov $text, %esi
        mov $0xe9, %dx
1:      lodsb
        test %al, %al
        jz 2f
        out %al, %dx
        jmp 1b
2:      xor %eax, %eax
        mov $0xf4, %dx
        out %eax, %dx
        hlt
text:   .asciz "loaded by the addresses of a header\n"
