// SPDX-License-Identifier: BSD-2-Clause
// From three boot protocols, all of which enter in 32-bit protected mode without paging, to long mode and C++.

.set multiboot1_magic, 0x1badb002
.set multiboot1_flags, 0x00010003 // modules on page boundaries, memory map wanted, addresses below are valid
.set multiboot2_magic, 0xe85250d6

.section .boot_headers, "a"
// Multiboot 1. Loaders take a 64-bit ELF only with the address fields.
.balign 8
multiboot1_header:
    .long multiboot1_magic
    .long multiboot1_flags
    .long -(multiboot1_magic + multiboot1_flags)
    .long multiboot1_header
    .long image_start
    .long load_end
    .long image_end
    .long hv_bare_entry

// Multiboot 2: loads by the program headers and enters at the ELF entry, on BIOS and on UEFI.
.balign 8
multiboot2_header:
    .long multiboot2_magic
    .long 0 // i386, protected mode
    .long multiboot2_header_end - multiboot2_header
    .long -(multiboot2_magic + (multiboot2_header_end - multiboot2_header))
    // information request: command line, modules, basic memory map, EFI memory map, RSDP old and new
    .balign 8
1:  .word 1
    .word 1 // optional: what is missing is missing
    .long 2f - 1b
    .long 1, 3, 6, 17, 14, 15
2:  // modules on page boundaries
    .balign 8
    .word 6
    .word 0
    .long 8
    .balign 8
    .word 0
    .word 0
    .long 8
multiboot2_header_end:

// PVH: XEN_ELFNOTE_PHYS32_ENTRY.
.section .note.pvh, "a", @note
.balign 4
    .long 4
    .long 8
    .long 18
    .asciz "Xen"
    .quad hv_bare_entry_pvh

.section .text.boot, "ax"
.code32
.globl hv_bare_entry_pvh
.type hv_bare_entry_pvh, @function
hv_bare_entry_pvh:
    // EAX is undefined here; the others come with their own magic.
    movl $0x336ec578, %eax
.size hv_bare_entry_pvh, . - hv_bare_entry_pvh

.globl hv_bare_entry
.type hv_bare_entry, @function
hv_bare_entry:
    cli
    cld
    movl %eax, %ebp
    movl %ebx, %esi
    movl $(hv_bare_stacks + 0x1000 + 0x10000), %esp // end of stacks::main; start.cpp asserts the numbers

    // Long mode, execute-disable and 2 MiB pages, or nothing. APM Vol. 2, "Long-Mode Initialization".
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    andl $0x20100000, %edx
    cmpl $0x20100000, %edx
    jne no_long_mode

    // The first 4 GiB one to one, writable and executable: a stopgap until paging.cpp has built the real tables.
    movl $boot_page_directories, %edi
    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax
    movl %eax, (%edi,%ecx,8)
    movl $0, 4(%edi,%ecx,8)
    incl %ecx
    cmpl $2048, %ecx
    jne 1b
    xorl %ecx, %ecx
2:  movl %ecx, %eax
    shll $12, %eax
    addl $(boot_page_directories + 3), %eax
    movl %eax, boot_page_directory_pointers(,%ecx,8)
    incl %ecx
    cmpl $4, %ecx
    jne 2b
    movl $(boot_page_directory_pointers + 3), boot_page_map

    movl $0x620, %eax // PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $boot_page_map, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx // IA32_EFER
    rdmsr
    orl $0x900, %eax // LME, NXE
    wrmsr
    movl $0x80010033, %eax // PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    lgdt boot_gdtr
    ljmp $0x08, $long_mode

no_long_mode:
    // Somebody may listen at the first serial port.
    movl $sorry, %esi
3:  lodsb
    testb %al, %al
    jz 5f
    movb %al, %ah
    movw $0x3fd, %dx
    movl $100000, %ecx
4:  inb %dx, %al
    testb $0x20, %al
    loopz 4b
    movw $0x3f8, %dx
    movb %ah, %al
    outb %al, %dx
    jmp 3b
5:  movb $3, %al
    outb %al, $0xf4
6:  cli
    hlt
    jmp 6b

.code64
long_mode:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl %esp, %esp
    movl %ebp, %edi
    movl %esi, %esi
    xorl %ebp, %ebp // the last frame of every backtrace
    call hv_bare_start
7:  cli
    hlt
    jmp 7b
.size hv_bare_entry, . - hv_bare_entry

.section .rodata.boot, "a"
sorry:
    .asciz "hv: this processor has no long mode or no execute-disable\r\n"
.balign 8
.globl boot_gdt
boot_gdt: // accessed bits are set: the table is read-only
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_end:
boot_gdtr:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

.section .bss.boot, "aw", @nobits
.balign 4096
.globl boot_page_map
boot_page_map:
    .skip 4096
boot_page_directory_pointers:
    .skip 4096
boot_page_directories:
    .skip 4 * 4096

.section .note.GNU-stack, "", @progbits
