// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_vmx_apicv
// judges: an NMI comes right behind the instruction that sent it, or behind the shadow of MOV SS or POP SS around it.
// reference: no, QEMU's processor sends itself an NMI some instructions later.
#include "devices.hpp"

using namespace payload;

namespace {
u64 volatile rip_seen, flags_seen;

void judge(u64 wanted, char const* what) {
    expect_equal(rip_seen, wanted, what);
    rip_seen = 0;
}
} // namespace

void payload::run() {
    lapic::enable();
    lapic::write(lapic::icr_high, lapic::own_id() << 24);
    set_handler(vector::nmi, [](frame& f) {
        rip_seen = f.rip;
        flags_seen = f.rflags;
    });
    u64 where{};
    constexpr u64 command{lapic::base + lapic::icr_low};
    constexpr u32 nmi{0x400};
    asm volatile("lea 1f(%%rip), %0; movl %2, (%1); 1: nop; nop" : "=&r"(where) : "r"(command), "i"(nmi) : "memory");
    judge(where, "behind the command");
    asm volatile("lea 1f(%%rip), %0; cli; movl %2, (%1); 1: cpuid; nop"
                 : "=&D"(where)
                 : "S"(command), "i"(nmi)
                 : "rax", "rbx", "rcx", "rdx", "memory");
    judge(where, "behind the command, before CPUID");
    expect_equal(flags_seen & 0x200, 0, "with interrupts off");
    asm volatile("lea 1f(%%rip), %0; sti; movl %2, (%1); 1: nop; cli"
                 : "=&r"(where)
                 : "r"(command), "i"(nmi)
                 : "memory");
    judge(where, "behind the command in the shadow of STI");
    expect_equal(flags_seen & 0x200, 0x200, "with interrupts on");
    asm volatile("lea 1f(%%rip), %0; mov %3, %%eax; mov %%eax, %%ss; movl %2, (%1); 1: nop; nop"
                 : "=&r"(where)
                 : "r"(command), "i"(nmi), "i"(data)
                 : "rax", "memory");
    judge(where, "behind the command in the shadow of MOV SS");
    // Sent from an NMI's handler, it waits for IRET; then it comes before the next instruction, MOV SS or not.
    set_handler(vector::nmi, [](frame& f) {
        if (count_of(vector::nmi) == 5)
            lapic::write(lapic::icr_low, nmi);
        else
            rip_seen = f.rip;
    });
    asm volatile("lea 1f(%%rip), %0; mov %3, %%eax; movl %2, (%1); 1: mov %%eax, %%ss; nop"
                 : "=&r"(where)
                 : "r"(command), "i"(nmi), "i"(data)
                 : "rax", "memory");
    judge(where, "behind IRET");
    expect_equal(count_of(vector::nmi), 6, "NMIs");

    // An NMI and an interrupt that wait at once: the NMI is first, its handler sees interrupts off.
    static u64 order, nmi_place, interrupt_place;
    set_handler(0x40, [](frame&) {
        interrupt_place = ++order;
        lapic::end();
    });
    set_handler(vector::nmi, [](frame&) {
        nmi_place = ++order;
        wait_ms(1);
    });
    (void)tsc_per_ms();
    lapic::send(0x40040);
    asm volatile("sti; movl %1, (%0); nop; cli" ::"r"(command), "i"(nmi) : "memory");
    expect_equal(nmi_place, 1, "the NMI first");
    expect_equal(interrupt_place, 2, "then the interrupt");
}
