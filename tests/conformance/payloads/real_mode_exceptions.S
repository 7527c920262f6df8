// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: exceptions of real mode, also those that a hypervisor raises, arrive at their vectors without error codes.
// reference: no, QEMU reads unknown MSRs as 0.
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
        movw $record, 0 * 4
        movw %ax, 0 * 4 + 2
        movw $record, 6 * 4
        movw %ax, 6 * 4 + 2
        movw $record, 13 * 4
        movw %ax, 13 * 4 + 2

        // Each comes back at `next` with what the handler found.
        movw $1f, next
        mov $0x40000000, %ecx
refused_read:
        rdmsr
        incw wrong
1:      mov $refused_read, %ax
        call judge

        movw $1f, next
        mov $0x174, %ecx
        inc %ecx
        xor %eax, %eax
        mov $0x8000, %edx // not canonical
refused_write:
        wrmsr
        incw wrong
1:      mov $refused_write, %ax
        call judge

        movw $1f, next
hidden: .byte 0x0f, 0x01, 0xd8 // VMRUN
        incw wrong
1:      mov $hidden, %ax
        call judge

        movw $1f, next
undefined:
        ud2
        incw wrong
1:      mov $undefined, %ax
        call judge

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

        // AX: where the exception must have been.
judge:  cmp %ax, found
        je 4f
        incw wrong
4:      cmpw $0x7c00 - 6, frame // IP, CS and FLAGS lie there, and nothing more
        je 5f
        incw wrong
5:      movw $0, found
        movw $0, frame
        ret

record: mov %sp, frame
        pop found
        mov $0x7c00, %sp
        jmp *next

print:  lodsb
        test %al, %al
        jz 6f
        out %al, $0xe9
        jmp print
6:      ret

found:  .word 0
frame:  .word 0
next:   .word 0
wrong:  .word 0
name:   .asciz "real_mode_exceptions\n"
ok:     .asciz "real_mode_exceptions: ok\n"
bad:    .asciz "FAILED: an exception of real mode\n"
        .org 510
        .word 0xaa55
