// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// says: descriptor_tables_real
// judges: real mode loads and stores GDTR and IDTR, and has neither LLDT, LTR, SLDT nor STR.
        .code16
        .text
        .global _start
_start:
        cli
        xor %ax, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x7c00, %sp
        mov $name, %si
        call print
        movw $record, 6 * 4
        movw %ax, 6 * 4 + 2

        // The table of interrupts moves with IDTR.
        sidtl old
        cmpw $0x3ff, old
        je 1f
        incw wrong
1:      xor %si, %si
        mov $0x6000, %di
        mov $0x200, %cx
        cld
        rep movsw
        movw $moved, 0x6000 + 6 * 4
        lidtl elsewhere
        movw $1f, next
        ud2
        incw wrong
1:      cmpw $1, came
        je 1f
        incw wrong
1:      lidtl old
        lgdtw wide
        sgdtl seen
        cmpl $0x123456, seen + 2
        je 1f
        incw wrong
1:      lgdtl wide
        sgdtl seen
        cmpl $0xba123456, seen + 2
        je 1f
        incw wrong
1:      cmpw $0x1234, seen
        je 1f
        incw wrong
1:
        .irp what, "sldt %ax", "str %ax", "lldt %ax", "ltr %ax", "str old", "lldt old"
        movw $2f, next
1:      \what
        incw wrong
2:      cmpw $1b, found
        je 3f
        incw wrong
3:      movw $0, found
        .endr

        cmpw $0, wrong
        mov $ok, %si
        je 2f
        mov $bad, %si
2:      call print
        movzwl wrong, %eax
        mov $0xf4, %dx
        out %eax, %dx
3:      hlt
        jmp 3b

moved:  incw came
record: pop found
        mov $0x7c00, %sp
        jmp *next

print:  lodsb
        test %al, %al
        jz 6f
        out %al, $0xe9
        jmp print
6:      ret

wide:   .word 0x1234
        .long 0xba123456
elsewhere:
        .word 0x3ff
        .long 0x6000
old:    .skip 6
seen:   .skip 6
found:  .word 0
next:   .word 0
came:   .word 0
wrong:  .word 0
name:   .asciz "descriptor_tables_real\n"
ok:     .asciz "ok\n"
bad:    .asciz "FAILED\n"
        .org 510
        .word 0xaa55
