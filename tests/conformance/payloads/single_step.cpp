// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: a single step traps once behind each instruction, with DR6.BS, and MOV SS holds it back by one.
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
    asm volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; mov %%eax, %%eax; nop; nop; nop" ::: "rax", "memory");
    expect_equal(hits, 4, "one step for each instruction");
    expect_equal(causes & 0x4000, 0x4000, "DR6.BS");

    set_handler(vector::debug, [](frame& f) {
        stepped_to = f.rip;
        f.rflags &= ~u64{0x100};
    });
    u64 where{};
    asm volatile("lea 1f(%%rip), %0; mov %1, %%eax\n"
                 "pushfq; orl $0x100, (%%rsp); popfq; mov %%eax, %%ss; nop; 1: nop"
                 : "=&r"(where)
                 : "i"(data)
                 : "rax", "memory");
    expect_equal(stepped_to, where, "behind the instruction after MOV SS");
}
