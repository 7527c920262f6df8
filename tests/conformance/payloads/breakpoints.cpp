// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// not on bochs-svm: Bochs 2.7 decides the intercept of #DB before DR6 knows the breakpoint, and saves that DR6.
// judges: a breakpoint comes once, behind the access to data or before the instruction, and DR6 names its register.
#include "payload.hpp"

using namespace payload;

namespace {
template <unsigned N>
auto read() -> u64 {
    u64 v{};
    asm volatile("mov %%dr%c1, %0" : "=r"(v) : "i"(N) : "memory");
    return v;
}
template <unsigned N>
void write(u64 v) {
    asm volatile("mov %0, %%dr%c1" ::"r"(v), "i"(N) : "memory");
}

u64 volatile seen_dr6, seen_rip, hits; // written by handlers behind ordinary stores
void record(frame& f) {
    hits = hits + 1;
    seen_dr6 = read<6>();
    seen_rip = f.rip;
    write<6>(0xffff0ff0);
    f.rflags |= u64{1} << 16; // RF: the instruction shall not break again
}
} // namespace

void payload::run() {
    constexpr u64 idle6{0xffff0ff0}, idle7{0x400};
    set_handler(vector::debug, record);
    // Break on a write of four bytes.
    static u32 volatile watched[2];
    write<6>(idle6);
    write<1>(reinterpret_cast<u64>(&watched[0]));
    write<7>(idle7 | 0x8 | 0xd << 20); // G1, write, 4 bytes
    watched[1] = 1;
    expect_equal(hits, 0, "a write beside the watched word");
    watched[0] = 1;
    expect_equal(hits, 1, "a write to the watched word");
    expect_equal(seen_dr6 & 0xf, 2, "DR6.B1");
    (void)watched[0];
    expect_equal(hits, 1, "a read of a word watched for writes");
    write<7>(idle7);

    // Break on an instruction; RF lets it run then.
    u64 where{};
    hits = 0;
    asm volatile("lea 1f(%%rip), %0; mov %0, %%dr0; mov %1, %%dr7; nop; 1: cpuid; mov %2, %%rax; mov %%rax, %%dr7"
                 : "=&S"(where)
                 : "D"(idle7 | 2), "i"(0x400)
                 : "rax", "rbx", "rcx", "rdx", "memory");
    expect_equal(hits, 1, "one break on an instruction");
    expect_equal(seen_dr6 & 0xf, 1, "DR6.B0");
    expect_equal(seen_rip, where, "before the instruction");
}
