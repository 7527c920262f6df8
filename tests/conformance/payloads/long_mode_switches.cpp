// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: EFER.LMA falls and rises with paging while LME stays, and the code between them exits like other code.
#include "devices.hpp"

using namespace payload;

// Through compatibility mode to protected mode without paging, which lies where the tables map it, and back.
asm(R"(
        .text
        .global leave_long_mode
leave_long_mode:
        push %rbx
        push %rbp
        movl $1f, unpaged_jump
        movw $0x18, unpaged_jump + 4
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        ljmp *unpaged_jump
        .code32
1:      mov %cr0, %eax
        and $0x7fffffff, %eax
        mov %eax, %cr0
        mov $0xc0000080, %ecx
        rdmsr
        mov %eax, unpaged_efer
        mov %cr0, %eax
        mov %eax, unpaged_cr0
        xor %eax, %eax
        cpuid
        mov %ebx, unpaged_vendor
        mov 0xfee00030, %eax
        mov %eax, unpaged_version
        pushl $0x12345678
        popl unpaged_word
        mov %cr0, %eax
        or $0x80000000, %eax
        mov %eax, %cr0
        mov $0xc0000080, %ecx
        rdmsr
        mov %eax, compatible_again_efer
        ljmp $0x08, $2f
        .code64
2:      pop %rbp
        pop %rbx
        ret
        .bss
        .balign 8
unpaged_jump: .skip 8
        .global unpaged_efer, unpaged_cr0, unpaged_vendor, unpaged_version, unpaged_word, compatible_again_efer
unpaged_efer: .skip 4
unpaged_cr0: .skip 4
unpaged_vendor: .skip 4
unpaged_version: .skip 4
unpaged_word: .skip 4
compatible_again_efer: .skip 4
        .text
)");
extern "C" {
void leave_long_mode();
extern payload::u32 volatile unpaged_efer, unpaged_cr0, unpaged_vendor, unpaged_version, unpaged_word,
    compatible_again_efer;
}

void payload::run() {
    constexpr u32 lme{1u << 8}, lma{1u << 10};
    auto const efer = rdmsr(0xc0000080), cr0 = read_cr0();
    for (unsigned i{}; i != 20; ++i) {
        unpaged_vendor = 0;
        unpaged_version = 0;
        unpaged_word = 0;
        leave_long_mode();
        expect_equal(unpaged_efer & (lme | lma), lme, "LME without LMA while paging is off");
        expect_equal(unpaged_cr0, cr0 & 0x7fffffff, "CR0 while paging is off");
        expect_equal(unpaged_vendor, cpuid(0).ebx, "CPUID");
        expect_equal(unpaged_version, lapic::read(lapic::version), "a device read");
        expect_equal(unpaged_word, 0x12345678, "the stack");
        expect_equal(compatible_again_efer & (lme | lma), lme | lma, "LMA behind the MOV that turns paging on");
        expect_equal(rdmsr(0xc0000080), efer, "EFER at the end");
        expect_equal(read_cr0(), cr0, "CR0 at the end");
    }
}
