// SPDX-License-Identifier: BSD-2-Clause
// A Linux program that prints the TSC of its first instruction and turns the computer off.
.section .text
.globl _start
_start:
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    leaq end(%rip), %rsi
    movl $10, %ecx
1:  xorl %edx, %edx
    divq %rcx
    addb $'0', %dl
    decq %rsi
    movb %dl, (%rsi)
    testq %rax, %rax
    jnz 1b
    leaq words(%rip), %rsi
    movl $(end + 1 - words), %edx
    movl $1, %edi
    movl $1, %eax // write(2)
    syscall
    movl $0xfee1dead, %edi // reboot(2), LINUX_REBOOT_CMD_POWER_OFF
    movl $672274793, %esi
    movl $0x4321fedc, %edx
    movl $169, %eax
    syscall
    hlt

.section .data
words:
    .ascii "bench: TSC "
    .skip 20, ' '
end:
    .ascii "\n"
.section .note.GNU-stack, "", @progbits
