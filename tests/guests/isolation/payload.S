// SPDX-License-Identifier: BSD-2-Clause
// 64-bit code that runs wherever it is copied to, with flat segments: fills every register it can reach, exits, and
// compares, a thousand times. Ends through port F4h: 0, or 1 with what differed at isolation_result.

        .set rounds, 1000
        .set plain, 19            // quads of the state: DR0-3, DR6, DR7, CR2, twelve MSRs
        .set fpu, 192             // where FXSAVE's image lies in it
        .set fpu_quads, 52        // of the image: control words, ST0-7, XMM0-15
        .set fpu_registers, 4     // quads before ST0
        .set state_size, fpu + 512

        // Numbers of differences, beside those of the quads.
        .set at_gs, 200
        .set at_fs, 201
        .set at_kernel_gs, 202
        .set at_syscall, 203
        .set at_fmask, 204
        .set at_rdtscp, 205
        .set at_gpr, 206
        .set not_taken, 300       // the register did not take its value
        .set not_clean, 500       // the register of a new guest is not as after RESET

        .set gpr_pattern, 0x5a5a001122330000
        .macro fill_gpr register, number
        movabs $(gpr_pattern + \number), %\register
        .endm
        .macro check_gpr register, number
        movabs $(gpr_pattern + \number), %rax
        cmp %rax, %\register
        mov %\register, %rdx
        mov $(at_gpr + \number), %ebx
        jne differs
        .endm
        .macro for_each_gpr what
        \what rbp, 0
        \what rsi, 1
        \what rdi, 2
        \what r8, 3
        \what r9, 4
        \what r10, 5
        \what r11, 6
        \what r12, 7
        \what r13, 8
        \what r14, 9
        \what r15, 10
        .endm
        // A word that lies where a segment base points holds its own address.
        .macro check_base segment, value, number
        mov \value(%rip), %rax
        mov %\segment:0, %rdx
        cmp %rax, %rdx
        mov $\number, %ebx
        jne differs
        .endm

        .section .rodata.isolation_payload, "a"
        .balign 4096
        .global isolation_payload, isolation_payload_end, isolation_result
isolation_payload:
        lea stack_end(%rip), %rsp
        mov %cr4, %rax
        or $0x600, %eax           // OSFXSR, OSXMMEXCPT
        mov %rax, %cr4
        mov %cr0, %rax
        and $~4, %eax             // EM
        or $2, %eax               // MP
        mov %rax, %cr0
        mov $0xc0000080, %ecx
        rdmsr
        or $1, %eax               // EFER.SCE
        wrmsr
        mov $0x80000001, %eax
        cpuid
        bt $27, %edx              // RDTSCP, and with it TSC_AUX
        setc has_tsc_aux(%rip)

        // Whatever the host had in its registers, this guest's are as after RESET.
        lea state(%rip), %rdi
        call read_state
        lea after_reset(%rip), %rsi
        lea state(%rip), %rdi
        mov $plain, %ecx
        mov $not_clean, %ebx
        call compare
        lea zeros(%rip), %rsi
        lea state + fpu + 8 * fpu_registers(%rip), %rdi
        mov $(fpu_quads - fpu_registers), %ecx
        mov $(not_clean + fpu / 8 + fpu_registers), %ebx
        call compare

        // What lies in this code is known only now.
        .irp name, gs_base, fs_base, kernel_gs_base
        lea \name\()_word(%rip), %rax
        mov %rax, \name\()_word(%rip)
        mov %rax, \name(%rip)
        .endr
        lea system_call(%rip), %rax
        mov %rax, lstar(%rip)

        lea values(%rip), %rsi
        .irp register, dr0, dr1, dr2, dr3, dr6, dr7, cr2
        lodsq
        mov %rax, %\register
        .endr
        lea msr_numbers(%rip), %rdi
1:      mov (%rdi), %ecx
        jrcxz 3f
        lodsq
        mov %rax, %rdx
        shr $32, %rdx
        cmp $0xc0000103, %ecx
        jne 2f
        cmpb $0, has_tsc_aux(%rip)
        je 3f
2:      wrmsr
        add $4, %rdi
        jmp 1b
3:      fninit
        fldcw control_word(%rip)
        .irp constant, fld1, fldl2t, fldl2e, fldpi, fldlg2, fldln2, fldpi, fldl2e
        \constant
        .endr
        ldmxcsr mxcsr(%rip)
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups xmm_values + 16 * \n(%rip), %xmm\n
        .endr

        // All of them took it.
        lea expected(%rip), %rdi
        call read_state
        lea values(%rip), %rsi
        lea expected(%rip), %rdi
        mov $(plain - 1), %ecx
        mov $not_taken, %ebx
        call compare
        movzbl has_tsc_aux(%rip), %ecx
        jrcxz 1f
        call compare
1:      lea xmm_values(%rip), %rsi
        lea expected + fpu + 160(%rip), %rdi
        mov $32, %ecx
        mov $(not_taken + fpu / 8 + 20), %ebx
        call compare

        movl $rounds, rounds_left(%rip)
round:  for_each_gpr fill_gpr
        xor %eax, %eax
        xor %ecx, %ecx
        cpuid                     // exits
        for_each_gpr check_gpr
        lea state(%rip), %rdi
        call read_state
        lea expected(%rip), %rsi
        lea state(%rip), %rdi
        mov $(fpu / 8 + fpu_quads), %ecx
        xor %ebx, %ebx
        call compare

        // What those registers do, not what exits say about them.
        check_base gs, gs_base, at_gs
        check_base fs, fs_base, at_fs
        swapgs
        check_base gs, kernel_gs_base, at_kernel_gs
        swapgs
        xor %r10d, %r10d
        stc
        syscall
        mov $at_syscall, %ebx
        mov $0x5ca1, %eax
        mov %r10, %rdx
        cmp %rax, %rdx
        jne differs
        cmpb $0, has_tsc_aux(%rip)
        je 1f
        rdtscp
        mov tsc_aux(%rip), %rax
        mov %rcx, %rdx
        mov $at_rdtscp, %ebx
        cmp %rax, %rdx
        jne differs
1:      decl rounds_left(%rip)
        jnz round
        xor %eax, %eax
        out %al, $0xf4
        hlt

system_call:                      // FMASK cleared CF, R11 has it
        setc %dl
        movzbl %dl, %edx
        mov $0, %eax
        mov $at_fmask, %ebx
        test %edx, %edx
        jnz differs
        test $1, %r11
        jz differs
        mov $0x5ca1, %r10d
        jmp *%rcx

// RSI expected, RDI seen, RCX quads, RBX the number of the first; leaves all of them behind the last.
compare:
        mov (%rsi), %rax
        mov (%rdi), %rdx
        cmp %rax, %rdx
        jne differs
        add $8, %rsi
        add $8, %rdi
        inc %ebx
        loop compare
        ret

differs:
        mov %rbx, isolation_result(%rip)
        mov %rax, isolation_result + 8(%rip)
        mov %rdx, isolation_result + 16(%rip)
        mov $1, %eax
        out %al, $0xf4
        hlt

// RDI: where to.
read_state:
        mov %rdi, %r8
        .irp register, dr0, dr1, dr2, dr3, dr6, dr7, cr2
        mov %\register, %rax
        stosq
        .endr
        lea msr_numbers(%rip), %rsi
1:      lodsl
        test %eax, %eax
        jz 3f
        mov %eax, %ecx
        xor %eax, %eax
        xor %edx, %edx
        cmp $0xc0000103, %ecx
        jne 2f
        cmpb $0, has_tsc_aux(%rip)
        je 3f
2:      rdmsr
        shl $32, %rdx
        or %rdx, %rax
        stosq
        jmp 1b
3:      fxsave64 fpu(%r8)
        ret

        .balign 64
values: .quad 0x111122223330, 0x222233334440, 0x333344445550, 0x444455556660 // DR0-3
        .quad 0xffff0ff5, 0x455                                               // DR6; DR7 with all four enabled
        .quad 0x7badcafef00d                                                  // CR2
kernel_gs_base: .quad 0
        .quad 0x00180010deadbeef // STAR: SYSCALL loads the flat selectors
lstar:  .quad 0
        .quad 0xffff8000c57a0000 // CSTAR
        .quad 0x47701            // FMASK
        .quad 0x10, 0xffff80005e5e0000, 0xffff8000e1e10000 // SYSENTER CS, ESP, EIP
        .quad 0x0007010600050406 // PAT
fs_base: .quad 0
gs_base: .quad 0
tsc_aux: .quad 0x600dcafe
after_reset: .quad 0, 0, 0, 0, 0xffff0ff0, 0x400, 0
        .quad 0, 0, 0, 0, 0, 0, 0, 0, 0x0007040600070406, 0, 0, 0
msr_numbers: .long 0xc0000102, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x174, 0x175, 0x176, 0x277, 0xc0000100
        .long 0xc0000101, 0xc0000103, 0
xmm_values:
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        .quad 0x0123456789abcde0 + \n, 0xfedcba9876543200 + \n
        .endr
zeros:  .skip 8 * fpu_quads
control_word: .word 0x27f         // 53 bits, all masked
mxcsr:  .long 0x9fc0              // flush to zero, denormals are zeros
gs_base_word: .quad 0
fs_base_word: .quad 0
kernel_gs_base_word: .quad 0
isolation_result: .quad 0, 0, 0
rounds_left: .long 0
has_tsc_aux: .byte 0
        .balign 64
state:  .skip state_size
        .balign 64
expected: .skip state_size
        .balign 64
        .skip 512
stack_end:
isolation_payload_end:
