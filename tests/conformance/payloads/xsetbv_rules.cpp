// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// machine: pc_xsave
// judges: XSETBV takes each combination of states that CPUID offers and no other, and CPUID's leaf Dh follows.
// SDM Vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features".
// reference: no, QEMU takes states that CPUID does not offer.
// not on qemu-svm: QEMU executes XSETBV without an exit, and a guest that turned on a hidden state is stopped.
#include "payload.hpp"
#include "xsave.hpp"

using namespace payload;
using namespace payload::xsave;

void payload::run() {
    auto const cr4 = read_cr4();
    expect_exception(vector::undefined, [] { (void)xgetbv(0); }, "XGETBV without OSXSAVE");
    expect_exception(vector::undefined, [] { xsetbv(0, x87); }, "XSETBV without OSXSAVE");
    expect_equal(cpuid(1).ecx >> 27 & 1, 0, "CPUID says OSXSAVE is clear");
    write_cr4(cr4 | osxsave);
    expect_equal(cpuid(1).ecx >> 27 & 1, 1, "CPUID says OSXSAVE is set");

    auto const leaf = cpuid(0xd);
    auto const offered = u64{leaf.edx} << 32 | leaf.eax;
    expect_equal(offered & (x87 | sse), x87 | sse, "x87 and SSE");
    u32 largest{576};
    for (u64 value{}; value != 16; ++value) {
        auto const old = xgetbv(0);
        bool const possible{(value & x87) != 0 and (value & ~offered) == 0 and
                            ((value & avx) == 0 or (value & sse) != 0)};
        expect_exception(possible ? none : vector::protection, [value] { xsetbv(0, value); }, "a value of XCR0");
        expect_equal(xgetbv(0), possible ? value : old, "XCR0 behind it");
        if (possible) {
            auto const size = cpuid(0xd).ebx;
            expect_equal(size, (value & avx) != 0 ? 832 : 576, "the size for what is on");
            largest = size > largest ? size : largest;
        }
    }
    expect_equal(cpuid(0xd).ecx, largest, "the size for all that can be on");
    xsetbv(0, x87);
    for (unsigned bit{3}; bit != 64; ++bit)
        if ((offered >> bit & 1) == 0)
            expect_exception(vector::protection, [=] { xsetbv(0, x87 | u64{1} << bit); }, "a state not offered");
    u32 const indices[]{1, 2, 0x80000000, ~u32{}};
    for (auto const index : indices)
        expect_exception(vector::protection, [=] { xsetbv(index, x87); }, "a register that does not exist");
    expect_equal(xgetbv(0), x87, "XCR0 is as it was");

    // Without AVX in XCR0 its instructions do not exist; with it they do.
    auto const use = [] { asm volatile("vzeroupper" ::: "memory"); };
    expect_exception(vector::undefined, use, "an AVX instruction without its state");
    xsetbv(0, x87 | sse | avx);
    expect_exception(none, use, "an AVX instruction with its state");
    write_cr4(cr4);
    expect_exception(vector::undefined, use, "an AVX instruction without OSXSAVE");
    expect_equal(cpuid(1).ecx >> 27 & 1, 0, "CPUID says OSXSAVE is clear again");
    write_cr4(cr4 | osxsave);
    expect_equal(xgetbv(0), x87 | sse | avx, "XCR0 outlives OSXSAVE");
    // Ring 3 may read XCR0 and not write it.
    alignas(4096) static u8 code[4096], stack[4096];
    allow_user(reinterpret_cast<u64>(code));
    allow_user(reinterpret_cast<u64>(stack));
    u8 const bytes[]{0x31, 0xc9, 0x31, 0xd2, 0x0f, 0x01, 0xd0, 0x0f, 0x01, 0xd1}; // xor ecx, edx; xgetbv; xsetbv
    for (unsigned i{}; i != sizeof bytes; ++i)
        static_cast<u8 volatile&>(code[i]) = bytes[i];
    auto const user = attempt_user(reinterpret_cast<u64>(code), reinterpret_cast<u64>(stack) + 4096);
    expect_equal(user.vector, vector::protection, "XSETBV in ring 3");
    expect_equal(user.rip, reinterpret_cast<u64>(code) + 7, "behind XGETBV");
}
