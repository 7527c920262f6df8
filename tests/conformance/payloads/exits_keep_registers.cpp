// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_xsave pc_vmx_apicv pc_speculation
// smoke: yes
// judges: every instruction that a hypervisor may take over leaves all other registers alone and goes on behind itself.
#include "payload.hpp"

using namespace payload;

extern "C" {
payload::u64 registers_before[15], registers_after[15]; // RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8-R15
void run_with_registers(void* code);
}

// Calls the code with all of registers_before loaded, and stores what it left.
asm(R"(
        .text
        .global run_with_registers
run_with_registers:
        push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
        push %rdi
        mov registers_before, %rax
        mov registers_before + 8, %rcx
        mov registers_before + 16, %rdx
        mov registers_before + 24, %rbx
        mov registers_before + 32, %rbp
        mov registers_before + 40, %rsi
        mov registers_before + 48, %rdi
        mov registers_before + 56, %r8
        mov registers_before + 64, %r9
        mov registers_before + 72, %r10
        mov registers_before + 80, %r11
        mov registers_before + 88, %r12
        mov registers_before + 96, %r13
        mov registers_before + 104, %r14
        mov registers_before + 112, %r15
        call *(%rsp)
        mov %rax, registers_after
        mov %rcx, registers_after + 8
        mov %rdx, registers_after + 16
        mov %rbx, registers_after + 24
        mov %rbp, registers_after + 32
        mov %rsi, registers_after + 40
        mov %rdi, registers_after + 48
        mov %r8, registers_after + 56
        mov %r9, registers_after + 64
        mov %r10, registers_after + 72
        mov %r11, registers_after + 80
        mov %r12, registers_after + 88
        mov %r13, registers_after + 96
        mov %r14, registers_after + 104
        mov %r15, registers_after + 112
        pop %rdi
        pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
        ret
)");

namespace {

constexpr u32 rax{1}, rcx{2}, rdx{4}, rbx{8}, rsi{0x20}, rdi{0x40};
constexpr unsigned at_rax{0}, at_rcx{1}, at_rdx{2}, at_rsi{5}, at_rdi{6};

/// An instruction, given as its bytes, and a RET behind it.
struct code {
    u8 bytes[16];
};

void judge(char const* what, u32 may_change, code instruction) {
    static code at;
    at = instruction;
    auto const got = attempt([] { run_with_registers(&at); });
    expect_equal(got.vector, none, what);
    for (unsigned i{}; i != 15; ++i)
        if ((may_change >> i & 1) == 0)
            expect_equal(registers_after[i], registers_before[i], what);
}

void fill() {
    for (unsigned i{}; i != 15; ++i)
        registers_before[i] = 0x1122334455667700 + i * 0x0101010101010101;
}

u8 buffer[16];

} // namespace

void payload::run() {
    fill();
    judge("CPUID", rax | rcx | rdx | rbx, {{0x0f, 0xa2, 0xc3}});
    judge("RDTSC", rax | rdx, {{0x0f, 0x31, 0xc3}});
    judge("PAUSE", 0, {{0xf3, 0x90, 0xc3}});
    judge("WBINVD", 0, {{0x0f, 0x09, 0xc3}});
    judge("MOV RAX, CR0", rax, {{0x0f, 0x20, 0xc0, 0xc3}});
    judge("MOV RAX, CR3", rax, {{0x0f, 0x20, 0xd8, 0xc3}});
    judge("MOV RAX, CR4", rax, {{0x0f, 0x20, 0xe0, 0xc3}});
    judge("MOV RAX, CR8", rax, {{0x44, 0x0f, 0x20, 0xc0, 0xc3}});
    judge("MOV RAX, DR0", rax, {{0x0f, 0x21, 0xc0, 0xc3}});
    judge("MOV RAX, DR7", rax, {{0x0f, 0x21, 0xf8, 0xc3}});
    judge("CLTS", 0, {{0x0f, 0x06, 0xc3}});
    judge("SMSW EAX", rax, {{0x0f, 0x01, 0xe0, 0xc3}});

    fill();
    registers_before[at_rax] = read_cr0();
    judge("MOV CR0, RAX", 0, {{0x0f, 0x22, 0xc0, 0xc3}});
    judge("LMSW AX", 0, {{0x0f, 0x01, 0xf0, 0xc3}});
    registers_before[at_rax] = read_cr3();
    judge("MOV CR3, RAX", 0, {{0x0f, 0x22, 0xd8, 0xc3}});
    registers_before[at_rax] = read_cr4();
    judge("MOV CR4, RAX", 0, {{0x0f, 0x22, 0xe0, 0xc3}});

    fill();
    registers_before[at_rcx] = 0xc0000080;
    judge("RDMSR", rax | rdx, {{0x0f, 0x32, 0xc3}});
    registers_before[at_rcx] = 0xc0000081;
    judge("WRMSR", 0, {{0x0f, 0x30, 0xc3}});

    fill();
    registers_before[at_rdx] = 0x71;
    judge("IN AL, DX", rax, {{0xec, 0xc3}});
    expect_equal(registers_after[at_rax] >> 8, registers_before[at_rax] >> 8, "IN AL leaves the rest of RAX");
    judge("IN AX, DX", rax, {{0x66, 0xed, 0xc3}});
    expect_equal(registers_after[at_rax] >> 16, registers_before[at_rax] >> 16, "IN AX leaves the rest of RAX");
    judge("IN EAX, DX", rax, {{0xed, 0xc3}});
    expect_equal(registers_after[at_rax] >> 32, 0, "IN EAX clears the upper half of RAX");
    judge("IN AL, 71h", rax, {{0xe4, 0x71, 0xc3}});
    registers_before[at_rdx] = 0x80;
    judge("OUT DX, AL", 0, {{0xee, 0xc3}});
    judge("OUT 80h, AL", 0, {{0xe6, 0x80, 0xc3}});
    registers_before[at_rsi] = reinterpret_cast<u64>(buffer);
    judge("OUTSB", rsi, {{0x6e, 0xc3}});
    expect_equal(registers_after[at_rsi], registers_before[at_rsi] + 1, "RSI after OUTSB");
    registers_before[at_rdx] = 0x71;
    registers_before[at_rdi] = reinterpret_cast<u64>(buffer);
    judge("INSB", rdi, {{0x6c, 0xc3}});
    expect_equal(registers_after[at_rdi], registers_before[at_rdi] + 1, "RDI after INSB");

    fill();
    registers_before[at_rax] = 0xfee00030;
    judge("MOV ECX, [local APIC]", rcx, {{0x8b, 0x08, 0xc3}});
    expect_equal(registers_after[at_rcx] >> 32, 0, "the upper half of RCX");
}
