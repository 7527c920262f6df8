// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: of all combinations of PG, PE, NW and CD only those that can be are taken; LMSW reaches four bits of CR0.
// reference: no, QEMU takes NW without CD and keeps bits that do not exist.
#include "payload.hpp"

using namespace payload;

namespace {
constexpr u64 pe{1}, mp{2}, em{4}, ts{8}, et{0x10}, ne{0x20}, wp{1u << 16}, nw{1u << 29}, cd{1u << 30}, pg{1u << 31};
} // namespace

void payload::run() {
    auto const old = read_cr0();
    for (unsigned i{}; i != 16; ++i) {
        auto const flags =
            ((i & 1) != 0 ? pg : 0) | ((i & 2) != 0 ? pe : 0) | ((i & 4) != 0 ? nw : 0) | ((i & 8) != 0 ? cd : 0);
        auto const value = (old & ~(pg | pe | nw | cd)) | flags;
        // 64-bit code cannot end paging, and nothing can end protection under it.
        bool const possible{(flags & (pg | pe)) == (pg | pe) and (flags & (nw | cd)) != nw};
        expect_exception(possible ? none : vector::protection, [value] { write_cr0(value); }, "a combination");
        expect_equal(read_cr0(), possible ? value : old, "CR0 behind it");
        write_cr0(old);
    }
    for (unsigned bit{32}; bit != 64; ++bit)
        expect_exception(vector::protection, [=] { write_cr0(old | u64{1} << bit); }, "an upper bit");
    expect_equal(read_cr0(), old, "CR0 is as it was");

    // Reserved bits of the lower half vanish, ET cannot be cleared, NE can.
    write_cr0(old | 0x1ffaffc0);
    expect_equal(read_cr0(), old, "reserved bits of the lower half");
    write_cr0(old & ~et);
    expect_equal(read_cr0(), old, "ET");
    write_cr0(old & ~(ne | wp));
    expect_equal(read_cr0(), old & ~(ne | wp), "NE and WP cleared");
    write_cr0(old);

    // LMSW: PE only up, MP, EM and TS both ways, from a register and from memory.
    for (u16 value{}; value != 16; ++value) {
        asm volatile("lmsw %w0" ::"r"(value));
        expect_equal(read_cr0(), (old & ~(mp | em | ts)) | (value & (mp | em | ts)), "CR0 behind LMSW");
    }
    static u16 volatile word;
    word = 0xfff0;
    asm volatile("lmsw %0" ::"m"(word));
    expect_equal(read_cr0(), old & ~(mp | em | ts), "LMSW from memory takes the four bits only");
    word = 0;
    asm volatile("smsw %0" : "=m"(word));
    expect_equal(word, read_cr0() & 0xffff, "SMSW to memory");
    u64 wide{};
    asm volatile("smsw %0" : "=r"(wide));
    expect_equal(wide & 0xffffffff, read_cr0() & 0xffffffff, "SMSW to a register");
    write_cr0(old | ts);
    asm volatile("clts");
    expect_equal(read_cr0(), old, "CLTS");
    write_cr0(old | em);
    expect_exception(vector::no_fpu, [] { asm volatile("fnop"); }, "an x87 instruction with EM");
    expect_exception(vector::undefined, [] { asm volatile("xorps %xmm0, %xmm0"); }, "an SSE instruction with EM");
    write_cr0(old | ts);
    expect_exception(vector::no_fpu, [] { asm volatile("xorps %xmm0, %xmm0"); }, "an SSE instruction with TS");
    write_cr0((old & ~mp) | ts);
    expect_exception(none, [] { asm volatile("fwait"); }, "FWAIT with TS and without MP");
    write_cr0(old | ts | mp);
    expect_exception(vector::no_fpu, [] { asm volatile("fwait"); }, "FWAIT with TS and MP");
    write_cr0(old);
}
