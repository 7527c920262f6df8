// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// machine: pc_xsave
// judges: AVX registers and what XSAVE stored of them survive a thousand exits, and CPUID tells sizes by XCR0.
#include "devices.hpp"
#include "xsave.hpp"

using namespace payload;
using namespace payload::xsave;

namespace {
constexpr unsigned ymm_bytes{16 * 32};
alignas(64) u8 pattern[ymm_bytes], found[ymm_bytes], area[4096];

/// All sixteen registers of 32 bytes.
void load(u8 const* from) {
    asm volatile("vmovdqu 0x000(%0), %%ymm0; vmovdqu 0x020(%0), %%ymm1; vmovdqu 0x040(%0), %%ymm2\n\t"
                 "vmovdqu 0x060(%0), %%ymm3; vmovdqu 0x080(%0), %%ymm4; vmovdqu 0x0a0(%0), %%ymm5\n\t"
                 "vmovdqu 0x0c0(%0), %%ymm6; vmovdqu 0x0e0(%0), %%ymm7; vmovdqu 0x100(%0), %%ymm8\n\t"
                 "vmovdqu 0x120(%0), %%ymm9; vmovdqu 0x140(%0), %%ymm10; vmovdqu 0x160(%0), %%ymm11\n\t"
                 "vmovdqu 0x180(%0), %%ymm12; vmovdqu 0x1a0(%0), %%ymm13; vmovdqu 0x1c0(%0), %%ymm14\n\t"
                 "vmovdqu 0x1e0(%0), %%ymm15" ::"r"(from)
                 : "memory");
}
void store(u8* to) {
    asm volatile("vmovdqu %%ymm0, 0x000(%0); vmovdqu %%ymm1, 0x020(%0); vmovdqu %%ymm2, 0x040(%0)\n\t"
                 "vmovdqu %%ymm3, 0x060(%0); vmovdqu %%ymm4, 0x080(%0); vmovdqu %%ymm5, 0x0a0(%0)\n\t"
                 "vmovdqu %%ymm6, 0x0c0(%0); vmovdqu %%ymm7, 0x0e0(%0); vmovdqu %%ymm8, 0x100(%0)\n\t"
                 "vmovdqu %%ymm9, 0x120(%0); vmovdqu %%ymm10, 0x140(%0); vmovdqu %%ymm11, 0x160(%0)\n\t"
                 "vmovdqu %%ymm12, 0x180(%0); vmovdqu %%ymm13, 0x1a0(%0); vmovdqu %%ymm14, 0x1c0(%0)\n\t"
                 "vmovdqu %%ymm15, 0x1e0(%0)" ::"r"(to)
                 : "memory");
}
void exit_often() {
    for (unsigned i{}; i != 500; ++i) {
        (void)cpuid(0);
        out8(0x80, 0);
        if (i % 50 == 0)
            wait_for_interrupt();
    }
}
void compare(char const* what) {
    store(found);
    for (unsigned i{}; i != ymm_bytes; ++i)
        expect_equal(found[i], pattern[i], what);
}
} // namespace

void payload::run() {
    auto const features = cpuid(1).ecx;
    expect((features >> 26 & 1) != 0, "XSAVE");
    expect((features >> 28 & 1) != 0, "AVX");
    expect((features >> 27 & 1) == 0, "OSXSAVE is clear before the system sets it");
    write_cr4(read_cr4() | osxsave);
    expect((cpuid(1).ecx >> 27 & 1) != 0, "OSXSAVE follows CR4");
    expect_equal(xgetbv(0), x87, "XCR0 after reset");
    auto const avx_part = cpuid(0xd, 2);
    expect_equal(avx_part.eax, 256, "AVX's upper halves");
    expect_equal(avx_part.ebx, 576, "where they lie");
    expect_equal(cpuid(0xd).eax & 7, x87 | sse | avx, "states");
    expect_equal(cpuid(0xd).ebx, 576, "size with x87");
    xsetbv(0, x87 | sse);
    expect_equal(cpuid(0xd).ebx, 576, "size with SSE");
    xsetbv(0, x87 | sse | avx);
    expect_equal(xgetbv(0), x87 | sse | avx, "XCR0 reads back");
    expect_equal(cpuid(0xd).ebx, 832, "size with AVX");
    expect(cpuid(0xd).ecx >= 832, "the largest size");
    expect_exception(vector::protection, [] { xsetbv(0, sse | avx); }, "XCR0 without x87");
    expect_exception(vector::protection, [] { xsetbv(0, u64{1} << 62 | x87); }, "a state that does not exist");
    expect_exception(vector::protection, [] { xsetbv(1, x87); }, "XCR1");

    for (unsigned i{}; i != ymm_bytes; ++i)
        pattern[i] = static_cast<u8>(i * 29 + 7);
    pic::initialise();
    set_handler(pic::first_vector, [](frame&) { pic::end(0); });
    pit::start(0, 2, pit::frequency / 1000);
    pic::unmask(0);
    load(pattern);
    exit_often();
    compare("a byte of an AVX register");

    asm volatile("xsave64 %0" : "+m"(area) : "a"(7), "d"(0) : "memory");
    asm volatile("vzeroall");
    exit_often();
    expect_equal(*reinterpret_cast<u64 const*>(area + 512) & avx, avx, "XSTATE_BV has AVX");
    asm volatile("xrstor64 %0" ::"m"(area), "a"(7), "d"(0) : "memory");
    compare("a byte that XRSTOR brought back");
    pit::stop();
    expect_equal(xgetbv(0), x87 | sse | avx, "XCR0 after the exits");
}
