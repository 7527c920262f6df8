// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// not on bochs-svm: Bochs 2.7 takes the trap of a guest's intercepted instruction in the host, behind VMRUN.
// judges: a single step traps once behind each instruction, also where that exits; MOV SS holds it back by one.
#include "payload.hpp"

using namespace payload;

namespace {
u64 volatile hits, causes, stepped_to; // written by handlers behind ordinary stores

auto read_dr6() -> u64 {
    u64 v{};
    asm volatile("mov %%dr6, %0" : "=r"(v)::"memory");
    return v;
}
void write_dr6(u64 v) {
    asm volatile("mov %0, %%dr6" ::"r"(v) : "memory");
}
} // namespace

void payload::run() {
    // Over instructions that exit.
    set_handler(vector::debug, [](frame& f) {
        hits = hits + 1;
        causes = causes | read_dr6();
        write_dr6(0xffff0ff0);
        if (hits == 4)
            f.rflags &= ~u64{0x100};
    });
    asm volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; cpuid; outb %%al, $0x80; inb $0x71, %%al; nop"
                 :
                 :
                 : "rax", "rbx", "rcx", "rdx", "memory");
    expect_equal(hits, 4, "one step for each instruction");
    expect_equal(causes & 0x4000, 0x4000, "DR6.BS");

    // MOV SS holds back a single step as it holds back interrupts.
    set_handler(vector::debug, [](frame& f) {
        stepped_to = f.rip;
        f.rflags &= ~u64{0x100};
    });
    auto const judge = [](u64 wanted, char const* what) {
        expect_equal(stepped_to, wanted, what);
        stepped_to = 0;
    };
    u64 where{};
    asm volatile("lea 1f(%%rip), %0; mov %1, %%eax\n"
                 "pushfq; orl $0x100, (%%rsp); popfq; mov %%eax, %%ss; nop; 1: nop"
                 : "=&r"(where)
                 : "i"(data)
                 : "rax", "memory");
    judge(where, "behind the instruction after MOV SS");
    asm volatile("lea 1f(%%rip), %%rsi; mov %1, %%eax\n"
                 "pushfq; orl $0x100, (%%rsp); popfq; mov %%eax, %%ss; cpuid; 1: nop; mov %%rsi, %0"
                 : "=&r"(where)
                 : "i"(data)
                 : "rax", "rbx", "rcx", "rdx", "rsi", "memory");
    judge(where, "behind a CPUID after MOV SS");
}
