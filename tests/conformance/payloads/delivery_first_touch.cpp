// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// judges: an event arrives once, with all that belongs to it, also if its delivery is the first to touch the stack.
// reference: no, QEMU reads unknown MSRs as 0.
#include "devices.hpp"

using namespace payload;

namespace {

/// The top of a stack in a 2 MiB block of memory that nobody has used: a hypervisor may map it at the first push.
auto fresh_stack() -> u64 {
    static u64 next{32 << 20};
    next += 2 << 20;
    return next - 64;
}

u64 stack_seen, vector_seen, rip_seen;
void record(frame& f) {
    stack_seen = f.rsp;
    vector_seen = f.vector;
    rip_seen = f.rip;
    if (f.vector >= 32)
        lapic::end();
}

void expect_once(unsigned vector, u64 before, u64 stack, char const* what) {
    expect_equal(count_of(vector) - before, 1, what);
    expect_equal(vector_seen, vector, what);
    expect_equal(stack_seen, stack, what);
}

} // namespace

void payload::run() {
    lapic::enable();
    for (unsigned round{}; round != 2; ++round) {
        set_handler(0x40, record);
        auto stack = fresh_stack();
        auto before = count_of(0x40);
        lapic::send(0x40040);
        asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; sti; nop; nop; cli; mov %%rbx, %%rsp" ::"r"(stack)
                     : "rbx", "memory");
        expect_once(0x40, before, stack, "an interrupt");

        set_handler(vector::nmi, record);
        lapic::write(lapic::icr_high, lapic::own_id() << 24);
        stack = fresh_stack();
        before = count_of(vector::nmi);
        asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; movl $0x400, (%1); mov %%rbx, %%rsp" ::"r"(stack),
                     "r"(lapic::base + lapic::icr_low)
                     : "rbx", "memory");
        expect_once(vector::nmi, before, stack, "an NMI");

        // Software's own: RIP is behind the instruction.
        u64 behind{};
        set_handler(0x80, record);
        stack = fresh_stack();
        before = count_of(0x80);
        asm volatile("lea 1f(%%rip), %0; mov %%rsp, %%rbx; mov %1, %%rsp; int $0x80; 1: mov %%rbx, %%rsp"
                     : "=&r"(behind)
                     : "r"(stack)
                     : "rbx", "memory");
        expect_once(0x80, before, stack, "INT n");
        expect_equal(rip_seen, behind, "RIP behind INT n");
        set_handler(vector::breakpoint, record);
        stack = fresh_stack();
        before = count_of(vector::breakpoint);
        asm volatile("lea 1f(%%rip), %0; mov %%rsp, %%rbx; mov %1, %%rsp; int3; 1: mov %%rbx, %%rsp"
                     : "=&r"(behind)
                     : "r"(stack)
                     : "rbx", "memory");
        expect_once(vector::breakpoint, before, stack, "INT3");
        expect_equal(rip_seen, behind, "RIP behind INT3");

        // Faults, of the processor and of a hypervisor: error code and CR2 stay.
        stack = fresh_stack();
        auto const absent = attempt([stack] {
            asm volatile("mov %0, %%rsp; movb $0, (%1)" ::"r"(stack), "r"(u64{0x7fffffff0000}) : "memory");
        });
        expect_equal(absent.vector, vector::page_fault, "a page fault");
        expect_equal(absent.error_code, 2, "its error code");
        expect_equal(absent.cr2, 0x7fffffff0000, "its address");
        stack = fresh_stack();
        auto const refused = attempt([stack] {
            asm volatile("mov %0, %%rsp; rdmsr" ::"r"(stack), "c"(0x40000000) : "eax", "edx", "memory");
        });
        expect_equal(refused.vector, vector::protection, "a refused RDMSR");
        expect_equal(refused.error_code, 0, "its error code");
    }
}
