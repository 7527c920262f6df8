// SPDX-License-Identifier: BSD-2-Clause
// From a Multiboot 1 loader to 64-bit C++: page tables for 4 GiB, descriptors, 256 interrupt gates.

        .set code64, 0x08
        .set code32, 0x18
        .set data, 0x10
        .set task, 0x30

        .section .multiboot, "a"
        .balign 4
        .long 0x1badb002, 0, -0x1badb002

        .section .text.start, "ax"
        .code32
        .global start
start:
        cli
        mov $stack_end, %esp
        mov %eax, boot_magic
        mov %ebx, boot_information

        // PML4 and page-directory-pointer table, then four page directories of 2 MiB pages.
        movl $(level3 + 7), level4
        mov $level3, %edi
        mov $(level2 + 7), %eax
        mov $4, %ecx
1:      mov %eax, (%edi)
        add $4096, %eax
        add $8, %edi
        loop 1b
        mov $level2, %edi
        mov $0x83, %eax // present, writable, 2 MiB
        mov $2048, %ecx
2:      mov %eax, (%edi)
        add $0x200000, %eax
        add $8, %edi
        loop 2b

        mov $0x620, %eax // PAE, OSFXSR, OSXMMEXCPT
        mov %eax, %cr4
        mov $level4, %eax
        mov %eax, %cr3
        mov $0x80000001, %eax
        cpuid
        mov $0x101, %ebx // SCE, LME
        test $(1 << 20), %edx
        jz 3f
        or $0x800, %ebx // NXE
3:      mov $0xc0000080, %ecx
        mov %ebx, %eax
        xor %edx, %edx
        wrmsr
        mov $0x80010033, %eax // PG, WP, NE, ET, MP, PE
        mov %eax, %cr0
        lgdt descriptors_pointer
        ljmp $code64, $start64

        .code64
start64:
        mov $data, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        mov $stack_end, %rsp
        xor %ebp, %ebp

        // The task state segment: its descriptor needs its address in pieces.
        mov $task_state, %eax
        mov %ax, descriptors + task + 2
        shr $16, %eax
        mov %al, descriptors + task + 4
        mov %ah, descriptors + task + 7
        mov $task, %eax
        ltr %ax

        // Gates: present interrupt gates for every vector.
        mov $interrupt_stubs, %eax
        mov $gates, %edi
        mov $256, %ecx
4:      mov %ax, (%rdi)
        movw $code64, 2(%rdi)
        movw $0x8e00, 4(%rdi)
        mov %eax, %edx
        shr $16, %edx
        mov %dx, 6(%rdi)
        movq $0, 8(%rdi)
        add $16, %eax
        add $16, %edi
        dec %ecx
        jnz 4b
        lidt gates_pointer
        call payload_start
5:      cli
        hlt
        jmp 5b

        // One stub of 16 bytes a vector: error code (0 where the processor pushes none), vector.
        .balign 16
interrupt_stubs:
        .set vector, 0
        .rept 256
        .balign 16
        .if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17 && vector != 21
        push $0
        .endif
        push $vector
        jmp interrupt_common
        .set vector, vector + 1
        .endr

interrupt_common:
        push %rax
        push %rcx
        push %rdx
        push %rbx
        push %rbp
        push %rsi
        push %rdi
        push %r8
        push %r9
        push %r10
        push %r11
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, %rdi
        cld
        mov %rsp, %rbp
        and $-16, %rsp
        call payload_interrupt
        mov %rbp, %rsp
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %r11
        pop %r10
        pop %r9
        pop %r8
        pop %rdi
        pop %rsi
        pop %rbp
        pop %rbx
        pop %rdx
        pop %rcx
        pop %rax
        add $16, %rsp
        iretq

        // guarded_call(function, argument): calls it; an exception inside comes back here through guarded_return.
        .global guarded_call
guarded_call:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        pushfq
        mov %rsp, guard_stack
        mov %rdi, %rax
        mov %rsi, %rdi
        sub $8, %rsp
        cld
        call *%rax
        .global guarded_return
guarded_return:
        mov guard_stack, %rsp
        movq $0, guard_stack
        popfq
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret

        // What compilers call without being asked.
        .global memcpy, memset
memcpy: mov %rdi, %rax
        mov %rdx, %rcx
        rep movsb
        ret
memset: mov %rdi, %r8
        mov %esi, %eax
        mov %rdx, %rcx
        rep stosb
        mov %r8, %rax
        ret

        .data
        .balign 16
        .global descriptors
descriptors:
        .quad 0
        .quad 0x00af9b000000ffff // 0x08 64-bit code
        .quad 0x00cf93000000ffff // 0x10 data
        .quad 0x00cf9b000000ffff // 0x18 32-bit code
        .quad 0x00cff3000000ffff // 0x20 user data
        .quad 0x00affb000000ffff // 0x28 64-bit user code
        .quad 0x0000890000000067 // 0x30 task state segment
        .quad 0
        .quad 0x00009b000000ffff // 0x40 16-bit code
descriptors_pointer:
        .word . - descriptors - 1
        .quad descriptors
        .global gates_pointer, descriptors_pointer
gates_pointer:
        .word 256 * 16 - 1
        .quad gates

        .balign 16
        .global task_state
task_state:
        .long 0
        .quad entry_stack_end, 0, 0 // RSP0-2: guarded calls lie on the other stack when user code is interrupted
        .quad 0
        .quad alternate_stack_end // IST1
        .fill 6, 8, 0
        .quad 0
        .word 0, 0x68

        .bss
        .balign 4096
        .global level4, level3, level2, gates
level4: .skip 4096
level3: .skip 4096
level2: .skip 4 * 4096
gates:  .skip 4096
        .skip 16384
stack_end:
        .skip 8192
alternate_stack_end:
        .skip 8192
entry_stack_end:
        .global guard_stack, boot_magic, boot_information
guard_stack: .skip 8
boot_magic: .skip 8
boot_information: .skip 8

        .section .note.GNU-stack, "", @progbits
