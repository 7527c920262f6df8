// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_xsave
// smoke: yes
// judges: CPUID tells a coherent story: what it promises works, and reading it changes nothing else.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    auto const basic = cpuid(0);
    expect(basic.eax >= 1, "leaf 1 exists");
    u32 const words[]{basic.ebx, basic.edx, basic.ecx};
    for (auto const word : words)
        for (unsigned shift{}; shift != 32; shift += 8)
            expect((word >> shift & 0xff) >= ' ' and (word >> shift & 0xff) <= '~', "the vendor is a printable text");

    auto const features = cpuid(1);
    constexpr u32 needed{1u << 0 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 9 | 1u << 24 | 1u << 25 | 1u << 26};
    expect_equal(features.edx & needed, needed, "FPU, TSC, MSR, PAE, CX8, APIC, FXSR, SSE, SSE2");
    expect_equal(features.ebx >> 24, *reinterpret_cast<u32 volatile*>(0xfee00020) >> 24, "the initial APIC id");

    expect(cpuid(0x80000000).eax >= 0x80000001, "extended leaves exist");
    auto const extended = cpuid(0x80000001);
    expect((extended.edx >> 29 & 1) != 0, "long mode");
    expect((extended.edx >> 20 & 1) != 0, "no-execute");
    expect((extended.edx >> 11 & 1) != 0, "SYSCALL");
    if (cpuid(0x80000000).eax >= 0x80000008) {
        auto const widths = cpuid(0x80000008).eax;
        expect_between(widths & 0xff, 32, 52, "physical address bits");
        expect_between(widths >> 8 & 0xff, 48, 57, "linear address bits");
    }

    // CPUID.1:ECX.OSXSAVE follows CR4.
    auto const enabled = (read_cr4() >> 18 & 1) != 0;
    expect_equal(features.ecx >> 27 & 1, enabled, "OSXSAVE mirrors CR4.OSXSAVE");

    u64 rax{1}, rbx{~u64{}}, rcx{0xffffffff00000000}, rdx{~u64{}};
    asm volatile("cpuid" : "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx));
    expect_equal((rax | rbx | rcx | rdx) >> 32, 0, "the upper halves of the results");

    u64 before{}, after{};
    asm volatile("pushfq; pop %0; mov $1, %%eax; cpuid; pushfq; pop %1"
                 : "=&r"(before), "=&r"(after)::"rax", "rbx", "rcx", "rdx");
    expect_equal(after, before, "flags");
}
