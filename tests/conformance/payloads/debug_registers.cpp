// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: debug registers read back, break on code and data, and single-step; exits in between change nothing.
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
    write<7>(0);
    expect_equal(read<7>(), idle7, "DR7 with nothing on");
    write<6>(0);
    expect_equal(read<6>() & 0xffff0ff0, idle6, "DR6 keeps its ones");
    write<0>(0x1111111111111111);
    write<1>(0x2222222222222222);
    write<2>(0x3333333333333333);
    write<3>(0x4444444444444444);
    (void)cpuid(0);
    out8(0x80, 0);
    expect_equal(read<0>(), 0x1111111111111111, "DR0 after exits");
    expect_equal(read<1>(), 0x2222222222222222, "DR1 after exits");
    expect_equal(read<2>(), 0x3333333333333333, "DR2 after exits");
    expect_equal(read<3>(), 0x4444444444444444, "DR3 after exits");

    auto const cr4 = read_cr4();
    write_cr4(cr4 | 8); // DE
    expect_exception(vector::undefined, [] { (void)read<4>(); }, "DR4 with CR4.DE");
    write_cr4(cr4 & ~u64{8});
    expect_equal(read<4>(), read<6>(), "DR4 is DR6 without CR4.DE");
    write_cr4(cr4);
    expect_exception(vector::protection, [] { write<7>(u64{1} << 32); }, "an upper bit of DR7");
    expect_exception(vector::protection, [] { write<6>(u64{1} << 32); }, "an upper bit of DR6");

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

    // Single step, over instructions that exit.
    set_handler(vector::debug, [](frame& f) {
        hits = hits + 1;
        seen_dr6 = seen_dr6 | read<6>();
        write<6>(0xffff0ff0);
        if (hits == 4)
            f.rflags &= ~u64{0x100};
    });
    hits = 0;
    seen_dr6 = 0;
    asm volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; cpuid; outb %%al, $0x80; inb $0x71, %%al; nop"
                 :
                 :
                 : "rax", "rbx", "rcx", "rdx", "memory");
    expect_equal(hits, 4, "one step for each instruction");
    expect_equal(seen_dr6 & 0x4000, 0x4000, "DR6.BS");
}
