// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// machine: pc_xsave
// reference: no, QEMU tells compacted sizes and lets IA32_XSS be read where CPUID has no compacted form.
// judges: XSAVEC and XSAVES work where CPUID shows them, with sizes that follow XCR0 and an IA32_XSS that stays 0.
#include "payload.hpp"
#include "xsave.hpp"

using namespace payload;
using namespace payload::xsave;

namespace {
constexpr u32 xss{0xda0};
constexpr u64 compacted{u64{1} << 63};
alignas(64) u8 area[1024], value[32], found[32];

void load(u8 const* from) {
    asm volatile("vmovdqu (%0), %%ymm3" ::"r"(from) : "memory");
}
/// Stores with one instruction of the family, forgets the register, and brings it back with the other. The half of SSE
/// is compared: Bochs 2.7 stores AVX's at 416 and looks for it at 576.
template <typename Save, typename Restore>
void round_trip(Save save, Restore restore, char const* what) {
    for (auto& byte : area)
        byte = 0;
    for (unsigned i{}; i != 32; ++i)
        value[i] = static_cast<u8>(i * 37 + 11);
    load(value);
    save();
    asm volatile("vzeroall");
    expect((*reinterpret_cast<u64 const*>(area + 512) & avx) != 0, what);
    expect_equal(*reinterpret_cast<u64 const*>(area + 520), compacted | 7, what);
    (void)cpuid(0);
    restore();
    asm volatile("vmovdqu %%ymm3, (%0)" ::"r"(found) : "memory");
    for (unsigned i{}; i != 16; ++i)
        expect_equal(found[i], value[i], what);
}
} // namespace

void payload::run() {
    auto const shown = cpuid(0xd, 1).eax;
    bool const has_xsavec{(shown >> 1 & 1) != 0}, has_xinuse{(shown >> 2 & 1) != 0}, has_xsaves{(shown >> 3 & 1) != 0};
    write_cr4(read_cr4() | osxsave);
    if (has_xsaves) {
        expect_equal(rdmsr(xss), 0, "IA32_XSS after reset");
        wrmsr(xss, 0);
        for (unsigned bit{}; bit != 64; ++bit)
            expect_exception(vector::protection, [=] { wrmsr(xss, u64{1} << bit); }, "a supervisor state");
    } else {
        expect_exception(vector::protection, [] { (void)rdmsr(xss); }, "IA32_XSS without XSAVES");
    }
    bool const compacts{has_xsavec or has_xsaves};
    expect_equal(cpuid(0xd, 1).ebx, compacts ? 576 : 0, "compacted size with x87");
    xsetbv(0, x87 | sse | avx);
    expect_equal(cpuid(0xd, 1).ebx, compacts ? 832 : 0, "compacted size with AVX");
    if (has_xinuse) {
        asm volatile("vzeroall");
        load(area);
        expect_equal(xgetbv(1) & ~u64{7}, 0, "states in use");
    }
    if (has_xsavec)
        round_trip([] { asm volatile("xsavec64 %0"
                                     : "+m"(area)
                                     : "a"(7), "d"(0)
                                     : "memory"); },
                   [] { asm volatile("xrstor64 %0" ::"m"(area), "a"(7), "d"(0)
                                     : "memory"); }, "XSAVEC and XRSTOR");
    if (has_xsaves)
        round_trip([] { asm volatile("xsaves64 %0"
                                     : "+m"(area)
                                     : "a"(7), "d"(0)
                                     : "memory"); },
                   [] { asm volatile("xrstors64 %0" ::"m"(area), "a"(7), "d"(0)
                                     : "memory"); }, "XSAVES and XRSTORS");
}
