// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a single step comes behind each round of a string and each served instruction, not behind one that faults.
// reference: no, QEMU steps over a whole string.
// not on bochs-svm: Bochs 2.7 takes the trap of a guest's intercepted instruction in the host, behind VMRUN.
#include "devices.hpp"

using namespace payload;

namespace {
u64 volatile steps, others;
u64 where[64];

void step(frame& f) {
    u64 status{};
    asm volatile("mov %%dr6, %0; mov %1, %%dr6" : "=&r"(status) : "r"(u64{0xffff0ff0}));
    if ((status & 0x4000) == 0)
        others = others + 1;
    where[steps % 64] = f.rip;
    steps = steps + 1;
}

/// Steps that `code` took; it sets TF and clears it, and the POPF that clears it is one of them.
template <typename Code>
void judge(u64 wanted, char const* what, Code code) {
    steps = 0;
    code();
    expect_equal(steps, wanted + 3, what); // PUSHF, AND and POPF at the end
}
} // namespace

#define TF_ON "pushfq; orl $0x100, (%%rsp); popfq\n"
#define TF_OFF "\npushfq; andl $~0x100, (%%rsp); popfq"

void payload::run() {
    lapic::enable();
    set_handler(vector::debug, step);
    judge(1, "NOP", [] { asm volatile(TF_ON "nop" TF_OFF ::: "memory"); });
    judge(2, "CPUID and NOP", [] { asm volatile(TF_ON "cpuid; nop" TF_OFF ::"a"(0) : "rbx", "rcx", "rdx", "memory"); });
    judge(3, "OUT, IN, NOP", [] {
        asm volatile(TF_ON "outb %%al, $0x80; inb $0x71, %%al; nop" TF_OFF ::: "rax", "memory");
    });
    judge(2, "RDMSR, WRMSR", [] { asm volatile(TF_ON "rdmsr; wrmsr" TF_OFF ::"c"(0x277) : "rax", "rdx", "memory"); });
    judge(2, "a device read and a device write", [] {
        asm volatile(TF_ON "movl (%0), %%eax; movl %%eax, (%0)" TF_OFF ::"r"(lapic::base + lapic::tpr)
                     : "rax", "memory");
    });
    judge(2, "CR0 and CR4", [] {
        asm volatile(TF_ON "mov %0, %%cr0; mov %1, %%cr4" TF_OFF ::"r"(read_cr0()), "r"(read_cr4()) : "memory");
    });
    judge(2, "CR3 and a debug register", [] {
        asm volatile(TF_ON "mov %0, %%cr3; mov %1, %%dr3" TF_OFF ::"r"(read_cr3()), "r"(u64{}) : "memory");
    });
    judge(1, "WBINVD", [] { asm volatile(TF_ON "wbinvd" TF_OFF ::: "memory"); });
    judge(1, "RDTSC", [] { asm volatile(TF_ON "rdtsc" TF_OFF ::: "rax", "rdx", "memory"); });

    // Strings: one step a round.
    static u8 buffer[16];
    judge(3, "REP OUTSB of three bytes", [] {
        u64 rsi{reinterpret_cast<u64>(buffer)}, rcx{3};
        asm volatile(TF_ON "rep outsb" TF_OFF : "+S"(rsi), "+c"(rcx) : "d"(u16{0x80}) : "memory");
        expect_equal(rcx, 0, "RCX behind it");
    });
    judge(2, "REP INSB of two bytes", [] {
        u64 rdi{reinterpret_cast<u64>(buffer)}, rcx{2};
        asm volatile(TF_ON "rep insb" TF_OFF : "+D"(rdi), "+c"(rcx) : "d"(u16{0x71}) : "memory");
        expect_equal(rcx, 0, "RCX behind it");
    });
    judge(3, "REP MOVSD of three registers", [] {
        u64 rsi{lapic::base + lapic::version}, rdi{reinterpret_cast<u64>(buffer)}, rcx{3};
        asm volatile(TF_ON "rep movsl" TF_OFF : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
        expect_equal(rcx, 0, "RCX behind it");
    });

    // An instruction that faults is not stepped over: #GP comes, and its handler runs without TF.
    set_handler(vector::protection, [](frame& f) { f.rip += 2; });
    judge(2, "a refused RDMSR and NOP", [] {
        asm volatile(TF_ON "rdmsr; nop; nop" TF_OFF ::"c"(0x12345678) : "rax", "rdx", "memory");
    });
    set_handler(vector::protection, nullptr);
    expect_equal(count_of(vector::protection), 1, "#GP of RDMSR");
    // INT n clears TF for its handler; the step comes behind the instruction after it.
    judge(1, "INT n and NOP", [] { asm volatile(TF_ON "int $0x60; nop" TF_OFF ::: "memory"); });
    expect_equal(count_of(0x60), 1, "INT n");

    // IRET that sets TF: the first step is behind the instruction it returns to.
    steps = 0;
    u64 behind{};
    asm volatile("mov %%rsp, %%rsi; push %1; push %%rsi; pushfq; orl $0x100, (%%rsp); push %2\n"
                 "lea 1f(%%rip), %0; push %0; iretq\n"
                 "1: cpuid; 2: lea 2b(%%rip), %0" TF_OFF
                 : "=&D"(behind)
                 : "i"(data), "i"(code64)
                 : "rax", "rbx", "rcx", "rdx", "rsi", "memory");
    expect_equal(where[0], behind, "the first step behind IRET");
    expect_equal(others, 0, "debug exceptions that are no step");
}
