// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: CPUID admits to a hypervisor and denies what a guest must not use: leaves that no rule names read as zeros.
// reference: no, QEMU shows what its processor has and answers an unknown leaf with the highest one.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    auto const features = cpuid(1);
    expect((features.ecx >> 31 & 1) == 1, "the hypervisor bit");
    expect((features.ecx >> 5 & 1) == 0, "VMX is hidden");
    expect((features.ecx >> 3 & 1) == 0, "MONITOR is hidden");
    expect((features.ecx >> 15 & 1) == 0, "performance capabilities are hidden");
    expect((features.ecx >> 26 & 1) == 0, "XSAVE is hidden");
    expect((features.ecx >> 28 & 1) == 0, "AVX is hidden: it needs XSAVE");
    expect((cpuid(0x80000001).ecx >> 2 & 1) == 0, "SVM is hidden");
    expect((cpuid(0x80000001).ecx >> 12 & 1) == 0, "SKINIT is hidden");

    expect(cpuid(0x40000000).eax >= 0x40000000, "hypervisor leaves begin at 40000000h");
    u32 const absent[]{0xa,        0x12,       0x14,       0x1b,       0x20,       0x1000,     0x3fffffff,
                       0x40000100, 0x7fffffff, 0x8000000a, 0x8000001f, 0x80010000, 0xc0000000, 0xffffffff};
    for (auto const leaf : absent) {
        auto const r = cpuid(leaf);
        expect_equal(r.eax | r.ebx | r.ecx | r.edx, 0, "a leaf that does not exist");
    }
}
