// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: a guest goes from real mode to protected mode, to paging, to big real mode and back, a hundred times.
        .code16
        .text
        .global _start
_start:
        cli
        xor %ax, %ax
        mov %ax, %ds
        mov %ax, %ss
        mov $0x7c00, %sp
        mov $name, %si
        call print
        lgdt pointer
        // A page directory at 0x10000 that maps the first 8 MiB by 4 MiB pages.
        mov $0x1000, %ax
        mov %ax, %es
        xor %di, %di
        xor %eax, %eax
        mov $1024, %cx
        rep stosl
        movl $0x00000083, %es:0
        movl $0x00400083, %es:4
        movw $100, rounds

again:  mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmp $8, $protected
        .code32
protected:
        mov $16, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %cr4, %eax
        or $0x10, %eax // PSE
        mov %eax, %cr4
        mov $0x10000, %eax
        mov %eax, %cr3
        mov %cr0, %eax
        or $0x80000000, %eax
        mov %eax, %cr0
        movl $0x12345678, 0x500000 // through a 4 MiB page
        movl $0x00400083, 0x10000 + 4
        xor %eax, %eax
        cpuid // an exit with paging
        mov %cr0, %eax
        and $0x7fffffff, %eax
        mov %eax, %cr0
        cmpl $0x12345678, 0x500000
        jne failed32
        movl $0, 0x500000
        ljmp $24, $narrow
failed32:
        movw $1, wrong
        ljmp $24, $narrow
        .code16
narrow: // FS keeps a limit of 4 GiB into real mode
        mov $16, %ax
        mov %ax, %fs
        mov %cr0, %eax
        and $0xfe, %al
        mov %eax, %cr0
        ljmp $0, $real
real:   xor %ax, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x400000, %esi
        movl $0x600df00d, %fs:(%esi)
        cmpl $0x600df00d, %fs:(%esi)
        je 1f
        movw $1, wrong
1:      decw rounds
        jnz again
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

print:  lodsb
        test %al, %al
        jz 4f
        out %al, $0xe9
        jmp print
4:      ret

        .balign 8
table:  .quad 0
        .quad 0x00cf9b000000ffff
        .quad 0x00cf93000000ffff
        .quad 0x00009b000000ffff
pointer: .word . - table - 1
        .long table
rounds: .word 0
wrong:  .word 0
name:   .asciz "mode_switches\n"
ok:     .asciz "mode_switches: ok\n"
bad:    .asciz "FAILED: memory behind a mode\n"
        .org 510
        .word 0xaa55
