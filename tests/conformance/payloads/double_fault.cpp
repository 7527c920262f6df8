// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a fault while a fault is delivered becomes a double fault with error code 0, on the stack its gate names.
#include "payload.hpp"

using namespace payload;

namespace {
u64 stack_seen;
} // namespace

void payload::run() {
    auto const saved = gate_of(vector::undefined), saved_protection = gate_of(vector::protection);

    // A benign exception whose gate is absent: #NP with the gate's number, not a double fault.
    gate_of(vector::undefined).low &= ~(u64{1} << 47);
    auto const absent = attempt([] { asm volatile("ud2"); });
    expect_equal(absent.vector, vector::not_present, "#UD without a gate");
    // Processors say 8 times the vector, some emulators 16 times; not all set EXT.
    expect_equal(absent.error_code & 6, 2, "its error code names the interrupt table");
    gate_of(vector::undefined) = saved;

    // #GP without a gate: #NP while delivering a contributory exception is a double fault.
    gate_of(vector::protection).low &= ~(u64{1} << 47);
    auto const twice = attempt([] { (void)*reinterpret_cast<u8 volatile*>(u64{1} << 47); });
    expect_equal(twice.vector, vector::double_fault, "#GP without a gate");
    expect_equal(twice.error_code, 0, "its error code");

    // On the alternate stack, when the gate says so.
    gate_of(vector::double_fault).low |= u64{1} << 32;
    auto const again = attempt([] {
        asm volatile("mov %%rsp, %0" : "=r"(stack_seen)::"memory");
        (void)*reinterpret_cast<u8 volatile*>(u64{1} << 47);
    });
    expect_equal(again.vector, vector::double_fault, "#GP without a gate, with an alternate stack");

    // A page fault while a page fault is delivered: the stack is absent.
    auto const lost = attempt([] {
        asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push %%rax; mov %%rbx, %%rsp" ::"r"(u64{0x7fffffff0000})
                     : "rbx", "memory");
    });
    expect_equal(lost.vector, vector::double_fault, "a push without a stack");
    gate_of(vector::protection) = saved_protection;

    // An interrupt gate that is not one: #GP with its number.
    auto& broken = gate_of(0x80);
    auto const whole = broken;
    broken.low = (broken.low & ~(u64{0xf} << 40)) | u64{2} << 40; // type 2: not a gate
    auto const wrong = attempt([] { asm volatile("int $0x80"); });
    expect_equal(wrong.vector, vector::protection, "INT through a gate of a wrong type");
    expect_equal(wrong.error_code & 7, 2, "its error code names the interrupt table");
    broken = whole;
}
