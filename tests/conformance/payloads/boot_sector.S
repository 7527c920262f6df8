// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: a boot sector runs in real mode: ports, software interrupts, segments, HLT until the timer, and the exit port.
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

        // Real mode it is.
        smsw %ax
        test $1, %al
        mov $no_real_mode, %si
        jnz failed

        // INT and IRET through a vector of its own.
        movw $handler, 0x80 * 4
        movw %cs, 0x80 * 4 + 2
        xor %bx, %bx
        int $0x80
        cmp $0x1234, %bx
        mov $no_interrupt, %si
        jne failed

        // A segment at 1 MiB - 16: the upper bytes lie above it, with address line 20 on.
        mov $0xffff, %ax
        mov %ax, %es
        movl $0x600df00d, %es:0x20
        cmpl $0x600df00d, %es:0x20
        mov $no_high_memory, %si
        jne failed

        // CPUID and string output.
        xor %eax, %eax
        cpuid
        test %eax, %eax
        mov $no_cpuid, %si
        jz failed
        mov $0x80, %dx
        mov $name, %si
        mov $4, %cx
        rep outsb
        cmp $name + 4, %si
        mov $no_string, %si
        jne failed

        // The timer's interrupt 8 wakes HLT three times.
        movw $tick, 8 * 4
        movw %cs, 8 * 4 + 2
        mov $0x11, %al
        out %al, $0x20
        mov $8, %al
        out %al, $0x21
        mov $4, %al
        out %al, $0x21
        mov $1, %al
        out %al, $0x21
        mov $0xfe, %al
        out %al, $0x21
        mov $0x34, %al
        out %al, $0x43
        mov $0x00, %al
        out %al, $0x40
        mov $0x20, %al
        out %al, $0x40
        xor %cx, %cx
1:      sti
        hlt
        cli
        cmp $3, %cx
        jb 1b
        mov $ok, %si
        call print
        xor %eax, %eax
leave:  mov $0xf4, %dx
        out %eax, %dx
2:      hlt
        jmp 2b

failed: call print
        mov $1, %eax
        jmp leave

handler:
        mov $0x1234, %bx
        iret
tick:   push %ax
        inc %cx
        mov $0x20, %al
        out %al, $0x20
        pop %ax
        iret

print:  lodsb
        test %al, %al
        jz 3f
        out %al, $0xe9
        jmp print
3:      ret

name:   .asciz "boot_sector\n"
ok:     .asciz "boot_sector: ok\n"
no_real_mode: .asciz "FAILED: CR0.PE is set\n"
no_interrupt: .asciz "FAILED: INT 80h\n"
no_high_memory: .asciz "FAILED: memory above 1 MiB\n"
no_cpuid: .asciz "FAILED: CPUID\n"
no_string: .asciz "FAILED: REP OUTSB\n"
        .org 510
        .word 0xaa55
