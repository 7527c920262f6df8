// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// not on bochs-svm: Bochs 2.7 takes the trap of a guest's intercepted instruction in the host, behind VMRUN.
// judges: a single step traps once behind each instruction that exits to a hypervisor, in the shadow of MOV SS too.
#include "payload.hpp"

using namespace payload;

namespace {
u64 volatile hits, causes, stepped_to; // written by handlers behind ordinary stores
} // namespace

void payload::run() {
    set_handler(vector::debug, [](frame& f) {
        hits = hits + 1;
        causes = causes | read_dr<6>();
        write_dr<6>(0xffff0ff0);
        if (hits == 4)
            f.rflags &= ~u64{0x100};
    });
    asm volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; cpuid; outb %%al, $0x80; inb $0x71, %%al; nop"
                 :
                 :
                 : "rax", "rbx", "rcx", "rdx", "memory");
    expect_equal(hits, 4, "one step for each instruction");
    expect_equal(causes & 0x4000, 0x4000, "DR6.BS");

    set_handler(vector::debug, [](frame& f) {
        stepped_to = f.rip;
        f.rflags &= ~u64{0x100};
    });
    u64 where{};
    asm volatile("lea 1f(%%rip), %%rsi; mov %1, %%eax\n"
                 "pushfq; orl $0x100, (%%rsp); popfq; mov %%eax, %%ss; cpuid; 1: nop; mov %%rsi, %0"
                 : "=&r"(where)
                 : "i"(data)
                 : "rax", "rbx", "rcx", "rdx", "rsi", "memory");
    expect_equal(stepped_to, where, "behind a CPUID after MOV SS");
}
