// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// also on: pc_speculation
// judges: MSRs against side channels are there where CPUID says so, each bit of them, and nowhere else.
// reference: no, QEMU reads unknown MSRs as 0 and ignores writes.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    constexpr u32 spec_ctrl{0x48}, pred_cmd{0x49}, arch_capabilities{0x10a}, flush_cmd{0x10b};
    auto const edx = cpuid(7).edx, ebx = cpuid(0x8000'0008).ebx;
    auto const has = [](u32 word, unsigned bit) { return (word >> bit & 1) != 0; };
    u64 const controls{(has(edx, 26) or has(ebx, 14) ? 1u : 0u) | (has(edx, 27) or has(ebx, 15) ? 2u : 0u) |
                       (has(edx, 31) or has(ebx, 24) ? 4u : 0u) | (has(ebx, 28) ? 0x80u : 0u)};

    for (unsigned bit{}; bit != 64; ++bit) {
        auto const value = u64{1} << bit;
        if ((controls & value) != 0) {
            wrmsr(spec_ctrl, value);
            expect_equal(rdmsr(spec_ctrl), value, "IA32_SPEC_CTRL");
        } else {
            expect_exception(vector::protection, [value] { wrmsr(spec_ctrl, value); }, "WRMSR of SPEC_CTRL");
        }
    }
    if (controls != 0) {
        wrmsr(spec_ctrl, controls);
        for (unsigned i{}; i != 100; ++i)
            (void)cpuid(0);
        expect_equal(rdmsr(spec_ctrl), controls, "IA32_SPEC_CTRL behind exits");
        wrmsr(spec_ctrl, 0);
    } else {
        expect_exception(vector::protection, [] { (void)rdmsr(spec_ctrl); }, "RDMSR of SPEC_CTRL");
    }

    auto const command = [](u32 index, bool there) {
        expect_exception(vector::protection, [index] { (void)rdmsr(index); }, "RDMSR of a command");
        expect_exception(vector::protection, [index] { wrmsr(index, 2); }, "WRMSR of a reserved bit");
        if (there)
            wrmsr(index, 1);
        else
            expect_exception(vector::protection, [index] { wrmsr(index, 1); }, "WRMSR of a command");
    };
    command(pred_cmd, has(edx, 26) or has(ebx, 12));
    command(flush_cmd, has(edx, 28));

    if (has(edx, 29))
        expect_equal(rdmsr(arch_capabilities) >> 32, 0, "IA32_ARCH_CAPABILITIES, upper half");
    else
        expect_exception(vector::protection, [] { (void)rdmsr(arch_capabilities); }, "RDMSR of ARCH_CAPABILITIES");
    expect_exception(vector::protection, [] { wrmsr(arch_capabilities, 0); }, "WRMSR of ARCH_CAPABILITIES");
}
