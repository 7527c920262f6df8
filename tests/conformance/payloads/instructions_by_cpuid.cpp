// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: RDTSCP, INVPCID and the XSAVE family work where CPUID shows them, and are undefined where it does not.
#include "payload.hpp"

using namespace payload;

namespace {
auto bit(u32 word, unsigned number) -> bool {
    return (word >> number & 1) != 0;
}
} // namespace

void payload::run() {
    struct instruction {
        char const* name;
        bool shown;
        u8 bytes[8];
    };
    bool const osxsave{bit(cpuid(1).ecx, 27)};
    instruction const all[]{
        {"RDTSCP", bit(cpuid(0x80000001).edx, 27), {0x0f, 0x01, 0xf9, 0xc3}},
        {"INVPCID of all", bit(cpuid(7).ebx, 10), {0x66, 0x0f, 0x38, 0x82, 0x04, 0x24, 0xc3}},
        {"XGETBV", osxsave, {0x0f, 0x01, 0xd0, 0xc3}},
        {"XSAVE", osxsave, {0x0f, 0xae, 0x23, 0xc3}},
        {"XRSTOR", osxsave, {0x0f, 0xae, 0x2b, 0xc3}},
        {"XSAVES", osxsave and bit(cpuid(0xd, 1).eax, 3), {0x0f, 0xc7, 0x2b, 0xc3}},
    };
    alignas(4096) static u8 code[4096];
    alignas(64) static u8 area[1024];
    for (auto const& i : all) {
        for (unsigned b{}; b != 8; ++b)
            code[b] = i.bytes[b];
        auto const run = attempt([] { // INVPCID finds its descriptor on the stack: a return address, so type 2 or 3
            asm volatile("call *%0" ::"r"(code), "a"(2), "b"(area), "c"(0), "d"(0) : "memory");
        });
        expect_equal(run.vector, i.shown ? none : vector::undefined, i.name);
        if (not i.shown)
            expect_equal(run.rip, reinterpret_cast<u64>(code), i.name);
    }
}
