// SPDX-License-Identifier: BSD-2-Clause
// What no hypervisor can get below: a Multiboot kernel that enters a guest which executes nothing but CPUID, answers it
// from constants and enters again, ten thousand times, with next to nothing around VMRUN. It prints instructions a round
// trip, as QEMU counts them, for four hosts:
//   bare       VMRUN; the guest stays where it is
//   registers  the fourteen registers that VMRUN does not switch, the exit code, the next instruction
//   state      also CLGI and STGI, VMSAVE and VMLOAD for guest and host
//   fpu        also FXSAVE and FXRSTOR for both
        .set vmcb, 0x200000
        .set host_save, 0x201000
        .set host_vmcb, 0x208000
        .set registers, 0x20a000
        .set guest_fpu, 0x20a400
        .set host_fpu, 0x20a800
        .set page_tables, 0x300000
        .set stack_end, 0x80000
        .set trips, 10000

        // VMCB, APM Volume 2, "Layout of VMCB".
        .set intercepts_3, 0x00c
        .set intercepts_4, 0x010
        .set iopm_base, 0x040
        .set guest_asid, 0x058
        .set exit_code, 0x070
        .set segment_es, 0x400
        .set segment_cs, 0x410
        .set gdtr_limit, 0x464
        .set idtr_limit, 0x484
        .set guest_efer, 0x4d0
        .set guest_cr0, 0x558
        .set guest_dr7, 0x560
        .set guest_dr6, 0x568
        .set guest_rflags, 0x570
        .set guest_rip, 0x578
        .set guest_rsp, 0x5d8
        .set guest_rax, 0x5f8
        .set guest_pat, 0x668
        .set exit_cpuid, 0x72

        .section .multiboot, "a"
        .balign 4
        .long 0x1badb002, 3, -(0x1badb002 + 3)

        .text
        .code32
        .globl start
start:  cli
        mov $stack_end, %esp
        // The first GiB, in pages of 2 MiB.
        mov $page_tables, %edi
        xor %eax, %eax
        mov $0x1000, %ecx
        rep stosl
        movl $page_tables + 0x1003, page_tables
        movl $page_tables + 0x2003, page_tables + 0x1000
        mov $page_tables + 0x2000, %edi
        mov $0x83, %eax
        mov $512, %ecx
1:      mov %eax, (%edi)
        add $0x200000, %eax
        add $8, %edi
        loop 1b
        mov $page_tables, %eax
        mov %eax, %cr3
        mov %cr4, %eax
        or $0x620, %eax // PAE, OSFXSR, OSXMMEXCPT
        mov %eax, %cr4
        mov $0xc0000080, %ecx
        rdmsr
        or $0x1100, %eax // SVME, LME
        wrmsr
        mov %cr0, %eax
        and $~4, %eax // no EM
        or $0x80000022, %eax // PG, NE, MP
        mov %eax, %cr0
        lgdt descriptors_pointer
        ljmp $8, $start64

        .code64
start64:
        mov $16, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        mov $vmcb, %edi
        xor %eax, %eax
        mov $0x10000 / 8, %ecx
        rep stosq
        mov $0xc0010117, %ecx // VM_HSAVE_PA
        mov $host_save, %eax
        xor %edx, %edx
        wrmsr

        // Intercepts CPUID, HLT and VMRUN; no nested paging; flat 32-bit protected mode without paging.
        mov $vmcb, %ebx
        movl $1 << 18 | 1 << 24, intercepts_3(%rbx)
        movl $1, intercepts_4(%rbx)
        movq $0x204000, iopm_base(%rbx)
        movl $1, guest_asid(%rbx)
        mov $vmcb + segment_es, %edi
        mov $6, %ecx
1:      movl $0x0c930010, (%rdi)
        movl $0xffffffff, 4(%rdi)
        add $16, %edi
        loop 1b
        movl $0x0c9b0008, segment_cs(%rbx)
        movl $0xffff, gdtr_limit(%rbx)
        movl $0xffff, idtr_limit(%rbx)
        movq $0x1000, guest_efer(%rbx)
        movq $0x11, guest_cr0(%rbx)
        movq $0x400, guest_dr7(%rbx)
        movl $0xffff0ff0, guest_dr6(%rbx)
        movq $2, guest_rflags(%rbx)
        movq $0x70000, guest_rsp(%rbx)
        movabs $0x0007040600070406, %rax
        mov %rax, guest_pat(%rbx)

        movq $guest, vmcb + guest_rip
        mov $trips, %ecx
        rdtsc
        mov %eax, %r15d
1:      mov $vmcb, %eax
        vmrun
        dec %ecx
        jnz 1b
        rdtsc
        sub %r15d, %eax
        lea name_bare(%rip), %rsi
        call report

        .irp host, registers, state, fpu
        movq $guest, vmcb + guest_rip
        lea run_\host(%rip), %rbp
        call measure
        lea name_\host(%rip), %rsi
        call report
        .endr
        xor %eax, %eax
leave:  mov $0xf4, %edx
        out %eax, %dx
        hlt

measure: // round trips through (%rbp): their instructions in EAX
        movl $trips, left
        rdtsc
        mov %eax, begun
1:      push %rbp
        call *%rbp
        pop %rbp
        decl left
        jnz 1b
        rdtsc
        sub begun, %eax
        ret

        .macro load_guest
        mov registers + 0x08, %rbx
        mov registers + 0x10, %rcx
        mov registers + 0x18, %rdx
        mov registers + 0x20, %rsi
        mov registers + 0x28, %rdi
        mov registers + 0x30, %rbp
        mov registers + 0x38, %r8
        mov registers + 0x40, %r9
        mov registers + 0x48, %r10
        mov registers + 0x50, %r11
        mov registers + 0x58, %r12
        mov registers + 0x60, %r13
        mov registers + 0x68, %r14
        mov registers + 0x70, %r15
        .endm
        .macro save_guest
        mov %rbx, registers + 0x08
        mov %rcx, registers + 0x10
        mov %rdx, registers + 0x18
        mov %rsi, registers + 0x20
        mov %rdi, registers + 0x28
        mov %rbp, registers + 0x30
        mov %r8, registers + 0x38
        mov %r9, registers + 0x40
        mov %r10, registers + 0x48
        mov %r11, registers + 0x50
        mov %r12, registers + 0x58
        mov %r13, registers + 0x60
        mov %r14, registers + 0x68
        mov %r15, registers + 0x70
        .endm
        .macro serve
        mov vmcb + exit_code, %rax
        cmp $exit_cpuid, %rax
        jne unexpected
        movq $0x68747541, vmcb + guest_rax
        movq $1, registers + 0x08
        movq $2, registers + 0x10
        movq $3, registers + 0x18
        addq $2, vmcb + guest_rip
        .endm

run_registers:
        load_guest
        mov $vmcb, %eax
        vmrun
        save_guest
        serve
        ret
run_state:
        clgi
        mov $host_vmcb, %eax
        vmsave
        mov $vmcb, %eax
        vmload
        load_guest
        mov $vmcb, %eax
        vmrun
        vmsave
        save_guest
        mov $host_vmcb, %eax
        vmload
        stgi
        serve
        ret
run_fpu:
        clgi
        mov $host_vmcb, %eax
        vmsave
        mov $vmcb, %eax
        vmload
        fxsave64 host_fpu
        fxrstor64 guest_fpu
        load_guest
        mov $vmcb, %eax
        vmrun
        vmsave
        save_guest
        fxsave64 guest_fpu
        fxrstor64 host_fpu
        mov $host_vmcb, %eax
        vmload
        stgi
        serve
        ret
unexpected:
        mov $1, %eax
        jmp leave

        .code32
guest:  .rept 8
        cpuid
        .endr
        jmp guest

        .code64
report: // "floor: NAME N": RSI has the name, EAX the instructions of all trips
        xor %edx, %edx
        mov $trips, %ecx
        div %ecx
        mov %eax, %r8d
        mov $0x3f8, %edx
        lea label(%rip), %rdi
        call print
        mov %rsi, %rdi
        call print
        mov %r8d, %eax
        xor %r9d, %r9d
        mov $10, %ecx
1:      xor %edx, %edx
        div %ecx
        add $'0', %edx
        push %rdx
        inc %r9d
        test %eax, %eax
        jnz 1b
        mov $0x3f8, %edx
2:      pop %rax
        out %al, %dx
        dec %r9d
        jnz 2b
        mov $'\n', %al
        out %al, %dx
        ret
print:  mov (%rdi), %al
        inc %rdi
        test %al, %al
        jz 1f
        out %al, %dx
        jmp print
1:      ret

        .data
        .balign 8
descriptors:
        .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
descriptors_pointer:
        .word 23
        .long descriptors
left:   .long 0
begun:  .long 0
label:  .asciz "floor: "
name_bare:
        .asciz "bare "
name_registers:
        .asciz "registers "
name_state:
        .asciz "state "
name_fpu:
        .asciz "fpu "
