// SPDX-License-Identifier: BSD-2-Clause
// Functions of one instruction each: every `forbidden_` one must be named exactly once, no `allowed_` one at all. With
// --serial the same of `shared_` and `alone_`.

.macro routine name:req, body:req
.globl \name
.type \name, @function
\name:
    \body
    ret
.size \name, . - \name
.endm
.macro forbidden name:req, body:req
    routine forbidden_\name, "\body"
.endm
.macro allowed name:req, body:req
    routine allowed_\name, "\body"
.endm
.macro shared name:req, body:req
    routine shared_\name, "\body"
.endm
.macro alone name:req, body:req
    routine alone_\name, "\body"
.endm

.text
forbidden x87_load, "fldl (%rax)"
forbidden x87_store_integer, "fisttpl (%rax)"
forbidden x87_status, "fnstsw %ax"
forbidden x87_control, "fldcw (%rax)"
forbidden x87_environment, "fnstenv (%rax)"
forbidden x87_state, "fnsave (%rax)"
forbidden x87_initialise, "fninit"
forbidden x87_clear, "fnclex"
forbidden x87_wait, "fwait"
forbidden mmx, "paddb %mm0, %mm1"
forbidden mmx_store, "maskmovq %mm0, %mm1"
forbidden mmx_empty, "emms"
forbidden mmx_empty_3dnow, "femms"
forbidden fxsave, "fxsave (%rax)"
forbidden fxrstor, "fxrstor64 (%rax)"
forbidden xsave, "xsave (%rax)"
forbidden xsavec, "xsavec (%rax)"
forbidden xsaveopt, "xsaveopt64 (%rax)"
forbidden xsaves, "xsaves64 (%rax)"
forbidden xrstor, "xrstor (%rax)"
forbidden xrstors, "xrstors (%rax)"
forbidden mxcsr_load, "ldmxcsr (%rax)"
forbidden mxcsr_store, "vstmxcsr (%rax)"
forbidden sse, "movups (%rax), %xmm0"
forbidden sse_aes, "aesenc %xmm0, %xmm1"
forbidden avx, "vpaddq %ymm0, %ymm1, %ymm2"
forbidden avx_upper, "vzeroupper"
forbidden avx512, "vpaddq %zmm0, %zmm1, %zmm2"
forbidden mask, "kmovq %rax, %k1"
forbidden tile, "tilezero %tmm0"
forbidden tile_load, "ldtilecfg (%rax)"
forbidden tile_store, "sttilecfg (%rax)"

forbidden call_register, "call *%rax"
forbidden call_memory, "call *8(%rax)"
forbidden jump_register, "jmp *%rax"
forbidden jump_memory, "jmp *(%rax)"
forbidden jump_table, "jmp *(%rax,%rcx,8)"
forbidden jump_notrack, "notrack jmp *%rax"
forbidden jump_far, "ljmpq *(%rax)"
forbidden call_far, "lcallq *(%rax)"
forbidden return_far, "lretq $8"
forbidden return_pop, "ret $8"
forbidden return_interrupt, "iretq"
forbidden system_enter, "sysenter"
forbidden system_exit, "sysexitq"
forbidden system_return, "sysretq"
forbidden event_return_user, ".byte 0xf3, 0x0f, 0x01, 0xca"
forbidden event_return_supervisor, ".byte 0xf2, 0x0f, 0x01, 0xca"
forbidden jump_absolute, ".byte 0xd5, 0x00, 0xa1; .quad allowed_halt"
forbidden push_pair, ".byte 0x62, 0xf4, 0x7c, 0x18, 0xff, 0xf0"
forbidden transaction, "xbegin ."
forbidden enclave, "enclu"
forbidden nmi_elsewhere, "int $2"
forbidden breakpoint, "int3"
forbidden invalid, ".byte 0xea"
forbidden short_jump_16, ".byte 0x66, 0xe9, 0, 0"
forbidden behind_jrcxz, "jrcxz 1f; ret; 1: jmp *%rax"
forbidden behind_loop, "loop 1f; ret; 1: jmp *%rax"
forbidden unbalanced_add, "add $8, %rsp"
forbidden unbalanced_lea, "lea -16(%rsp), %rsp"
forbidden other_stack, "mov %rax, %rsp"
forbidden aligned_only, "and $-16, %rsp"
forbidden return_slot_push, "pop %rcx; push %rax"
forbidden return_slot_index, "lea 8(%rsp), %rcx; movl $0, -8(%rcx)"

allowed trap, "ud2"
allowed halt, "hlt"
allowed string, "rep stosb"
allowed locked, "lock incq (%rax)"
allowed nontemporal, "movnti %rax, (%rax)"
allowed prefetch, "prefetcht0 (%rax)"
allowed extended_control, "xgetbv"
allowed frame, "push %rbp; mov %rsp, %rbp; sub $40, %rsp; mov %rax, -8(%rbp); leave"
allowed aligned_frame, "push %rbp; mov %rsp, %rbp; and $-64, %rsp; call allowed_halt; mov %rbp, %rsp; pop %rbp"
allowed saved_stack, "mov %rsp, %rbx; and $-16, %rsp; call allowed_halt; mov %rbx, %rsp"
allowed kept_frame, "push %rbp; mov %rsp, %rbp; push %rbp; xor %ebp, %ebp; pop %rbp; lea (%rbp), %rsp; pop %rbp"
allowed argument_on_stack, "mov %rax, 8(%rsp)"
allowed tail_call, "jmp allowed_halt"

shared increment, "lock incq (%rax)"
shared compare, "lock cmpxchgq %rcx, (%rax)"
shared compare_16, "lock cmpxchg16b (%rax)"
shared add, "lock xaddl %ecx, (%rax)"
shared bit, "lock btsq $3, (%rax)"
shared prefix_last, ".byte 0x66, 0xf0, 0xff, 0x00"
shared prefix_of_segment, ".byte 0x65, 0xf0, 0x48, 0xff, 0x00"
shared exchange, "xchgq %rcx, (%rax)"
shared exchange_byte, "xchgb %cl, (%rax)"
shared spin, "1: pause; cmpl $0, (%rdi); jne 1b"
shared spin_far, "1: cmpl $0, (%rdi); je 2f; pause; jmp 1b; 2:"
shared spin_past_port, "1: pause; cmpl $0, (%rdi); jne 1b; inb %dx, %al; testb $1, %al; jz 1b"
shared spin_call, "1: pause; call allowed_halt; cmpl $0, (%rdi); jne 1b"

alone increment, "incq (%rax)"
alone compare, "cmpxchgq %rcx, (%rax)"
alone exchange, "xchgq %rcx, %rax"
alone no_prefix, "movl $0xf0f0f0f0, %eax"
alone pause, "pause"
alone loop, "1: cmpl $0, (%rdi); jne 1b"
alone device, "1: pause; inb %dx, %al; testb $1, %al; jz 1b"
alone device_far, "1: inb %dx, %al; testb $1, %al; jnz 2f; pause; jmp 1b; 2:"
alone device_call, "1: pause; call alone_read; testb $1, %al; jz 1b"
alone read, "inl $0x40, %eax"
