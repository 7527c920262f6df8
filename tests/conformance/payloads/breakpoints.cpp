// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a breakpoint comes once, behind the access to its data or before its instruction, also where that exits.
#include "payload.hpp"

using namespace payload;

namespace {
constexpr u64 idle7{0x400};
u64 volatile seen_rip, hits; // written by handlers behind ordinary stores

void record(frame& f) {
    hits = hits + 1;
    seen_rip = f.rip;
    f.rflags |= u64{1} << 16; // RF: the instruction shall not break again
}
} // namespace

void payload::run() {
    set_handler(vector::debug, record);
    // Break on a write of four bytes.
    static u32 volatile watched[2];
    write_dr<1>(reinterpret_cast<u64>(&watched[0]));
    write_dr<7>(idle7 | 0x8 | 0xd << 20); // G1, write, 4 bytes
    watched[1] = 1;
    expect_equal(hits, 0, "a write beside the watched word");
    watched[0] = 1;
    expect_equal(hits, 1, "a write to the watched word");
    (void)watched[0];
    expect_equal(hits, 1, "a read of a word watched for writes");
    write_dr<7>(idle7);

    // Break on an instruction; RF lets it run then.
    u64 where{};
    hits = 0;
    asm volatile("lea 1f(%%rip), %0; mov %0, %%dr0; mov %1, %%dr7; nop; 1: cpuid; mov %2, %%rax; mov %%rax, %%dr7"
                 : "=&S"(where)
                 : "D"(idle7 | 2), "i"(0x400)
                 : "rax", "rbx", "rcx", "rdx", "memory");
    expect_equal(hits, 1, "one break on an instruction");
    expect_equal(seen_rip, where, "before the instruction");
}
