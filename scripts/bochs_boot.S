// SPDX-License-Identifier: BSD-2-Clause
// The first sector of a disk that bochs_disk.py makes: puts stretches of the disk where the second sector says and enters
// a Multiboot 1 image. Real mode is for the memory map only; the rest is 32-bit code and ATA in PIO mode.
.set stretches, 0x8000    // the second sector: number, entry point, then {address, first sector or 0 for zeros, sectors}
.set information, 0x10000 // Multiboot information, one of the stretches; the memory map is the only part made here
.set memory_map, 0x9000
.set mmap_length, 44

.code16
.globl start
start:
    cli
    cld
    ljmp $0, $1f
1:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    inb $0x92, %al // A20
    orb $2, %al
    outb %al, $0x92

    // INT 15h, E820h. Multiboot wants each entry behind its size.
    movw $memory_map + 4, %di
    xorl %ebx, %ebx
2:  movl $0xe820, %eax
    movl $0x534d4150, %edx
    movl $20, %ecx
    int $0x15
    jc 3f
    movl $20, -4(%di)
    addw $24, %di
    testl %ebx, %ebx
    jnz 2b
3:  subw $memory_map + 4, %di
    movzwl %di, %esi

    cli
    lgdt gdtr
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmp $8, $4f

.code32
4:  movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x7c00, %esp
    pushl %esi
    movb $2, %al // no interrupts from the disk
    movw $0x3f6, %dx
    outb %al, %dx

    movl $stretches, %edi
    movl $1, %ebx
    movl $1, %ebp
    call read
    movl $stretches + 8, %esi
5:  movl (%esi), %edi
    movl 4(%esi), %ebx
    movl 8(%esi), %ebp
    testl %ebx, %ebx
    jz 6f
    call read
    jmp 7f
6:  movl %ebp, %ecx
    shll $7, %ecx
    xorl %eax, %eax
    rep stosl
7:  addl $12, %esi
    decl stretches
    jnz 5b

    popl information + mmap_length
    movl $0x2badb002, %eax
    movl $information, %ebx
    jmp *stretches + 4

// EBP sectors from EBX on to EDI.
read:
    testl %ebp, %ebp
    jz 5f
    movl $128, %ecx
    cmpl %ecx, %ebp
    jae 1f
    movl %ebp, %ecx
1:  movw $0x1f7, %dx
2:  inb %dx, %al
    testb $0x80, %al // BSY
    jnz 2b
    movl %ebx, %eax
    shrl $24, %eax
    orb $0xe0, %al // LBA, first drive
    decl %edx
    outb %al, %dx
    movw $0x1f2, %dx
    movb %cl, %al
    outb %al, %dx
    incl %edx
    movl %ebx, %eax
    outb %al, %dx
    incl %edx
    shrl $8, %eax
    outb %al, %dx
    incl %edx
    shrl $8, %eax
    outb %al, %dx
    movw $0x1f7, %dx
    movb $0x20, %al // READ SECTORS
    outb %al, %dx
    addl %ecx, %ebx
    subl %ecx, %ebp
3:  pushl %ecx
    movw $0x1f7, %dx
4:  inb %dx, %al
    andb $0x88, %al
    cmpb $8, %al // DRQ without BSY
    jne 4b
    movw $0x1f0, %dx
    movl $128, %ecx
    rep insl
    popl %ecx
    loop 3b
    jmp read
5:  ret

.balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff
    .quad 0x00cf92000000ffff
gdtr:
    .word gdtr - gdt - 1
    .long gdt

.org 510
    .word 0xaa55
