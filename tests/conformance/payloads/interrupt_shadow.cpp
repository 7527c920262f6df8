// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// smoke: yes
// judges: STI holds interrupts back for one instruction, also if that instruction exits to a hypervisor.
#include "devices.hpp"

using namespace payload;

namespace {
u64 interrupted_at;

void record(frame& f) {
    interrupted_at = f.rip;
    f.rflags &= ~u64{0x200};
    lapic::end();
}
void pend() {
    lapic::send(0x40040);
}
} // namespace

void payload::run() {
    lapic::enable();
    set_handler(0x40, record);
    auto const judge = [](u64 wanted, char const* what) {
        expect_equal(interrupted_at, wanted, what);
        interrupted_at = 0;
    };
    u64 where{};

    pend();
    asm volatile("lea 1f(%%rip), %0; sti; nop; 1: nop; nop; cli" : "=r"(where)::"memory");
    judge(where, "behind the instruction after STI");

    pend();
    asm volatile("lea 1f(%%rip), %%rsi; sti; cpuid; 1: nop; nop; cli; mov %%rsi, %0"
                 : "=r"(where)::"rax", "rbx", "rcx", "rdx", "rsi", "memory");
    judge(where, "behind a CPUID after STI");

    pend();
    asm volatile("lea 1f(%%rip), %0; sti; inb $0x71, %%al; 1: nop; nop; cli" : "=r"(where)::"rax", "memory");
    judge(where, "behind an IN after STI");

    pend();
    asm volatile("lea 1f(%%rip), %0; sti; movl (%1), %%eax; 1: nop; nop; cli"
                 : "=&r"(where)
                 : "r"(lapic::base + lapic::version)
                 : "rax", "memory");
    judge(where, "behind a device read after STI");

    // STI with interrupts on already has no shadow; two in a row shadow once.
    pend();
    asm volatile("lea 1f(%%rip), %0; sti; sti; 1: nop; nop; cli" : "=r"(where)::"memory");
    judge(where, "behind the second STI");

    // STI; HLT: the interrupt that waits ends HLT at once.
    pend();
    asm volatile("lea 1f(%%rip), %0; sti; hlt; 1: nop; cli" : "=r"(where)::"memory");
    judge(where, "behind HLT after STI");

    // POPF has no shadow.
    pend();
    asm volatile("lea 1f(%%rip), %0; pushfq; orl $0x200, (%%rsp); popfq; 1: nop; cli" : "=r"(where)::"memory");
    judge(where, "behind POPF");

    // CLI in the shadow: nothing arrives.
    auto const before = count_of(0x40);
    pend();
    asm volatile("sti; cli; nop; nop" ::: "memory");
    expect_equal(count_of(0x40), before, "STI; CLI lets nothing in");
    sti();
    expect_equal(count_of(0x40), before + 1, "it arrives later");
    cli();
}
