// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: CPUID ignores the upper halves of RAX and RCX and subleaves where there are none, and knows nothing beyond.
// The profile answers zeros for what it does not name, on either vendor.
// reference: no, QEMU answers a leaf above the highest with the highest.
#include "payload.hpp"

using namespace payload;

namespace {
auto same(cpuid_values const& a, cpuid_values const& b) -> bool {
    return a.eax == b.eax and a.ebx == b.ebx and a.ecx == b.ecx and a.edx == b.edx;
}
auto is_nothing(cpuid_values const& a) -> bool {
    return same(a, {});
}
/// CPUID with all 64 bits of its operands.
auto cpuid_wide(u64 rax, u64 rcx) -> cpuid_values {
    u64 rbx{~u64{}}, rdx{~u64{}};
    asm volatile("cpuid" : "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx));
    expect_equal((rax | rbx | rcx | rdx) >> 32, 0, "upper halves of the results");
    return {static_cast<u32>(rax), static_cast<u32>(rbx), static_cast<u32>(rcx), static_cast<u32>(rdx)};
}
} // namespace

void payload::run() {
    auto const highest = cpuid(0).eax, extended = cpuid(0x80000000).eax;
    expect_between(highest, 1, 0x1000, "the highest leaf");
    expect_between(extended, 0x80000001, 0x80001000, "the highest extended leaf");

    u32 const leaves[]{0, 1, 0x40000000, 0x80000000, 0x80000001, 0x80000002, 0x80000008};
    for (auto const leaf : leaves) {
        auto const plain = cpuid(leaf);
        expect(same(plain, cpuid_wide(0xdeadbeef00000000 | leaf, 0xcafe000000000000)), "upper halves of the operands");
        expect(same(plain, cpuid(leaf, 7)), "a subleaf where there are none");
        expect(same(plain, cpuid(leaf, ~u32{})), "the last subleaf where there are none");
        expect(same(plain, cpuid(leaf)), "the same again");
    }
    // Leaf 7 tells how many subleaves it has; behind them is nothing.
    for (u32 subleaf{cpuid(7).eax + 1}; subleaf != 40; ++subleaf)
        expect(is_nothing(cpuid(7, subleaf)), "a subleaf of leaf 7 behind the last");
    expect(is_nothing(cpuid(7, ~u32{})), "the last subleaf of leaf 7");

    for (u32 n{1}; n != 0x40; ++n) {
        expect(is_nothing(cpuid(highest + n)), "a basic leaf above the highest");
        expect(is_nothing(cpuid(extended + n)), "an extended leaf above the highest");
        expect(is_nothing(cpuid(cpuid(0x40000000).eax + n)), "a hypervisor leaf above the highest");
        expect(is_nothing(cpuid(0x40000000 - n)), "a leaf below those of the hypervisor");
        expect(is_nothing(cpuid(0x80000000 - n)), "a leaf below the extended ones");
        expect(is_nothing(cpuid(0xc0000000 + n)), "a leaf of a third vendor");
        expect(is_nothing(cpuid(u32{} - n)), "a leaf at the end");
    }
    for (u32 bit{8}; bit != 32; ++bit)
        if (auto const leaf = u32{1} << bit; leaf != 0x40000000 and leaf != 0x80000000)
            expect(is_nothing(cpuid(leaf)), "a leaf far away");
    // A hypervisor's name is printable.
    auto const name = cpuid(0x40000000);
    u32 const words[]{name.ebx, name.ecx, name.edx};
    for (auto const word : words)
        for (unsigned shift{}; shift != 32; shift += 8)
            expect_between(word >> shift & 0xff, ' ', '~', "a letter of the hypervisor's name");
}
