// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_xsave
// judges: where CPUID hides XSAVE it does not exist; where CPUID offers it, XCR0 is checked.
#include "payload.hpp"

using namespace payload;

namespace {
void xsetbv(u32 index, u64 value) {
    asm volatile(".byte 0x0f, 0x01, 0xd1" ::"c"(index), "a"(static_cast<u32>(value)),
                 "d"(static_cast<u32>(value >> 32)));
}
auto xgetbv(u32 index) -> u64 {
    u32 low{}, high{};
    asm volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(index));
    return u64{high} << 32 | low;
}
} // namespace

void payload::run() {
    constexpr u64 osxsave{1u << 18};
    expect_exception(vector::undefined, [] { (void)xgetbv(0); }, "XGETBV without OSXSAVE");
    expect_exception(vector::undefined, [] { xsetbv(0, 1); }, "XSETBV without OSXSAVE");
    if ((cpuid(1).ecx >> 26 & 1) == 0) {
        expect_exception(vector::protection, [] { write_cr4(read_cr4() | osxsave); }, "OSXSAVE where XSAVE is hidden");
        expect_equal(read_cr4() & osxsave, 0, "CR4.OSXSAVE");
        return;
    }
    write_cr4(read_cr4() | osxsave);
    auto const value = xgetbv(0);
    expect_equal(value & 1, 1, "XCR0 has x87");
    xsetbv(0, 3);
    expect_equal(xgetbv(0), 3, "XCR0 reads back");
    expect_exception(vector::protection, [] { xsetbv(0, 2); }, "XCR0 without x87");
    expect_exception(vector::protection, [] { xsetbv(0, 5); }, "XCR0 with AVX but not SSE");
    expect_exception(vector::protection, [] { xsetbv(0, u64{1} << 62 | 1); }, "a reserved bit of XCR0");
    expect_exception(vector::protection, [] { xsetbv(1, 1); }, "XCR1");
    xsetbv(0, value);
    write_cr4(read_cr4() & ~osxsave);
}
