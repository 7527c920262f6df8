// SPDX-License-Identifier: BSD-2-Clause
// Real-mode code: asks CPUID for two leaves; status 0 if the hypervisor's leaf is the example's.
.code16
.globl _start
_start:
    xorl %eax, %eax
    cpuid
    movl $0x40000000, %eax
    cpuid
    subl $0x656d6f73, %ebx
    movl %ebx, %eax
    movw $0xf4, %dx
    outl %eax, %dx
    hlt
