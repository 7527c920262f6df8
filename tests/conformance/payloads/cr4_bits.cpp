// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: each bit of CR4 is set and cleared where CPUID has its feature, and elsewhere raises #GP and changes nothing.
// reference: no, QEMU refuses VME although it shows it.
#include "payload.hpp"

using namespace payload;

namespace {
struct row {
    unsigned bit;
    u32 leaf;
    char reg;
    unsigned feature;
};
// SDM Vol. 3A, "Control Registers".
constexpr row rows[]{
    {0, 1, 'd', 1},  {1, 1, 'd', 1},   {2, 1, 'd', 4},   {3, 1, 'd', 2},  {4, 1, 'd', 3},   {6, 1, 'd', 7},
    {7, 1, 'd', 13}, {9, 1, 'd', 24},  {10, 1, 'd', 25}, {11, 7, 'c', 2}, {13, 1, 'c', 5},  {14, 1, 'c', 6},
    {16, 7, 'b', 0}, {17, 1, 'c', 17}, {18, 1, 'c', 26}, {20, 7, 'b', 7}, {21, 7, 'b', 20}, {22, 7, 'c', 3},
};

auto has(row const& r) -> bool {
    auto const v = cpuid(r.leaf);
    return ((r.reg == 'b' ? v.ebx : r.reg == 'c' ? v.ecx : v.edx) >> r.feature & 1) != 0;
}
void at_bit(unsigned bit) {
    print("bit ");
    print_decimal(bit);
    print(": ");
}
} // namespace

void payload::run() {
    auto const old = read_cr4();
    for (auto const& r : rows) {
        auto const wanted = has(r) ? none : vector::protection;
        auto const value = old ^ u64 { 1 } << r.bit;
        auto const got = attempt([value] { write_cr4(value); }).vector;
        auto const now = read_cr4();
        write_cr4(old);
        if (got != wanted) {
            at_bit(r.bit);
            expect_equal(got, wanted, "a change of CR4");
        } else if (now != (got == none ? value : old)) {
            at_bit(r.bit);
            expect_equal(now, got == none ? value : old, "CR4 behind it");
        }
        expect_equal(read_cr4(), old, "CR4 put back");
    }
    unsigned const reserved[]{15, 19, 25, 26, 27, 30, 31, 33, 47, 63};
    for (auto const bit : reserved) {
        expect_exception(vector::protection, [=] { write_cr4(old | u64{1} << bit); }, "a reserved bit");
        expect_equal(read_cr4(), old, "CR4 is as it was");
    }
    expect_exception(vector::protection, [old] { write_cr4(old & ~u64{0x20}); }, "PAE cleared in long mode");
    expect_exception(vector::protection, [old] { write_cr4(old ^ u64{1} << 12); }, "LA57 changed in long mode");

    // The bits do what they say: FSGSBASE at once, and SMAP and SMEP for a page that is the user's.
    constexpr u64 fsgsbase{1u << 16}, smep{1u << 20}, smap{1u << 21};
    auto const structured = cpuid(7).ebx;
    auto const read_base = [] { asm volatile("rdfsbase %%rax" ::: "rax"); };
    if ((structured & 1) != 0) {
        expect_exception(vector::undefined, read_base, "RDFSBASE without FSGSBASE");
        write_cr4(old | fsgsbase);
        expect_exception(none, read_base, "RDFSBASE with FSGSBASE");
        write_cr4(old);
    }
    alignas(4096) static u8 page[4096];
    static_cast<u8 volatile&>(page[0]) = 0xc3;
    auto const address = reinterpret_cast<u64>(page);
    allow_user(address);
    auto const call = [address] { asm volatile("call *%0" ::"r"(address) : "memory"); };
    auto const read = [] { (void)*static_cast<u8 volatile*>(page); };
    expect_exception(none, call, "a call of a user page");
    if ((structured >> 7 & 1) != 0) {
        write_cr4(old | smep);
        auto const got = attempt(call);
        expect_equal(got.vector, vector::page_fault, "a call of a user page with SMEP");
        expect_equal(got.error_code, 0x11, "its error code");
        expect_exception(none, read, "a read of a user page with SMEP");
        write_cr4(old);
    }
    if ((structured >> 20 & 1) != 0) {
        write_cr4(old | smap);
        auto const got = attempt(read);
        expect_equal(got.vector, vector::page_fault, "a read of a user page with SMAP");
        expect_equal(got.error_code, 1, "its error code");
        expect_exception(none, [] { asm volatile("stac; movb (%0), %%al; clac" ::"r"(page) : "rax"); }, "with STAC");
        write_cr4(old);
    }
    expect_exception(none, call, "a call at the end");
}
