// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// not on bochs-svm: Bochs 2.7 decides the intercept of #DB before DR6 knows the breakpoint, and saves that DR6.
// judges: DR6 names the register whose breakpoint came, among four that are set.
#include "payload.hpp"

using namespace payload;

namespace {
u64 volatile seen_dr6; // written by a handler behind ordinary stores
} // namespace

void payload::run() {
    constexpr u64 idle6{0xffff0ff0}, idle7{0x400};
    set_handler(vector::debug, [](frame& f) {
        seen_dr6 = read_dr<6>();
        write_dr<6>(idle6);
        f.rflags |= u64{1} << 16; // RF: the instruction shall not break again
    });
    static u32 volatile watched[4];
    write_dr<6>(idle6);
    write_dr<0>(reinterpret_cast<u64>(&watched[0]));
    write_dr<1>(reinterpret_cast<u64>(&watched[1]));
    write_dr<2>(reinterpret_cast<u64>(&watched[2]));
    write_dr<3>(reinterpret_cast<u64>(&watched[3]));
    write_dr<7>(idle7 | 0xaa | u64{0xdddd} << 16); // G0-G3, write, 4 bytes
    for (unsigned i{}; i != 4; ++i) {
        seen_dr6 = 0;
        watched[i] = 1;
        expect_equal(seen_dr6 & 0xf, 1u << i, "the register of a data breakpoint");
    }
    write_dr<7>(idle7);

    asm volatile("lea 1f(%%rip), %%rsi; mov %%rsi, %%dr0; mov %0, %%dr7; nop; 1: cpuid; mov %1, %%rax; mov %%rax, %%dr7"
                 :
                 : "D"(idle7 | 2), "i"(0x400)
                 : "rax", "rbx", "rcx", "rdx", "rsi", "memory");
    expect_equal(seen_dr6 & 0xf, 1, "the register of an instruction breakpoint");
}
