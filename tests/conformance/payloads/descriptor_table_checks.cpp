// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// not on qemu-svm: QEMU loads any base, looks at no upper type and lets LTR load null.
// judges: LGDT, LIDT and LLDT refuse a base that is no address, LLDT a typed upper half, and LTR null.
// reference: no, QEMU checks none of this.
#include "gates.hpp"

using namespace payload;

namespace {

constexpr u64 no_address{0x8000'0000'0000};

auto gdtr() -> table_pointer {
    table_pointer p{};
    asm volatile("sgdt %0" : "=m"(p));
    return p;
}
auto idtr() -> table_pointer {
    table_pointer p{};
    asm volatile("sidt %0" : "=m"(p));
    return p;
}

} // namespace

void payload::run() {
    static table_pointer wrong{0xfff, no_address};
    auto const gdt = gdtr(), idt = idtr();
    auto const refused = attempt([] { asm volatile("lgdt %0" ::"m"(wrong)); });
    expect_equal(refused.vector, vector::protection, "LGDT");
    expect_equal(refused.error_code, 0, "its error code");
    expect_exception(vector::protection, [] { asm volatile("lidt %0" ::"m"(wrong)); }, "LIDT");
    expect_equal(gdtr().base, gdt.base, "GDTR");
    expect_equal(idtr().base, idt.base, "IDTR");

    constexpr u16 ldt{0x20}, typed_ldt{0x30};
    u64 const mixed[]{0,
                      descriptors[1],
                      descriptors[2],
                      descriptors[3],
                      0x0000820000000067,
                      no_address >> 32,
                      0x0000820000000067,
                      u64{1} << 40};
    table_pointer const small{sizeof mixed - 1, reinterpret_cast<u64>(mixed)};
    asm volatile("lgdt %0" ::"m"(small));
    auto const far = attempt([] { asm volatile("lldt %0" ::"r"(ldt)); });
    auto const typed = attempt([] { asm volatile("lldt %0" ::"r"(typed_ldt)); });
    auto const null = attempt([] { asm volatile("ltr %0" ::"r"(u16{})); });
    asm volatile("lgdt %0" ::"m"(gdt));
    expect_equal(far.vector, vector::protection, "LLDT of no address");
    expect_equal(far.error_code, ldt, "its error code");
    expect_equal(typed.vector, vector::protection, "LLDT of a typed upper half");
    expect_equal(typed.error_code, typed_ldt, "its error code");
    expect_equal(null.vector, vector::protection, "LTR of null");
    expect_equal(null.error_code, 0, "its error code");
}
