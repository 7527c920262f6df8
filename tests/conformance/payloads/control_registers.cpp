// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: control registers read back what was written, and their task-switched and protection flags work.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    auto const cr0 = read_cr0();
    constexpr u64 ts{1u << 3}, wp{1u << 16}, am{1u << 18}, cd{1u << 30}, nw{1u << 29};
    for (unsigned i{}; i != 8; ++i) {
        auto const flags = ((i & 1) != 0 ? ts : 0) | ((i & 2) != 0 ? wp : 0) | ((i & 4) != 0 ? am : 0);
        auto const value = (cr0 & ~(ts | wp | am)) | flags;
        write_cr0(value);
        expect_equal(read_cr0(), value, "CR0 reads back");
    }
    write_cr0(cr0 | cd);
    expect_equal(read_cr0(), cr0 | cd, "CR0.CD reads back");
    write_cr0(cr0 | cd | nw);
    expect_equal(read_cr0() & (cd | nw), cd | nw, "CR0.CD and NW read back");
    write_cr0(cr0);

    write_cr0(cr0 | ts);
    expect_exception(vector::no_fpu, [] { asm volatile("fnop"); }, "an FPU instruction with CR0.TS");
    asm volatile("clts");
    expect_equal(read_cr0(), cr0, "CLTS");
    expect_exception(none, [] { asm volatile("fnop"); }, "an FPU instruction without CR0.TS");

    u64 word{};
    asm volatile("smsw %0" : "=r"(word));
    expect_equal(word & 0xffff, cr0 & 0xffff, "SMSW");
    asm volatile("lmsw %w0" ::"r"(0x8u | 0x2u));
    expect_equal(read_cr0(), cr0 | ts, "LMSW sets TS and cannot clear PE");
    asm volatile("clts");

    // CR0.WP decides whether the supervisor may write read-only pages.
    static u64 volatile target;
    auto const address = reinterpret_cast<u64>(&target) & ~u64{0xfff};
    auto& entry = entry_of(address);
    entry &= ~page::writable;
    invlpg(address);
    expect_exception(vector::page_fault, [] { target = 1; }, "a write to a read-only page with CR0.WP");
    write_cr0(cr0 & ~wp);
    expect_exception(none, [] { target = 2; }, "a write to a read-only page without CR0.WP");
    write_cr0(cr0);
    entry |= page::writable;
    invlpg(address);

    u64 const addresses[]{0, 0x123456789abcdef0, ~u64{}};
    for (auto const value : addresses) {
        write_cr2(value);
        (void)cpuid(0);
        expect_equal(read_cr2(), value, "CR2 reads back after an exit");
    }

    auto const cr4 = read_cr4();
    constexpr u64 tsd{4}, de{8}, pge{0x80}, pce{0x100};
    u64 const bits[]{tsd, de, pge, pce};
    for (auto const bit : bits) {
        write_cr4(cr4 ^ bit);
        expect_equal(read_cr4(), cr4 ^ bit, "CR4 reads back");
    }
    write_cr4(cr4);
    auto const cr3 = read_cr3();
    write_cr3(cr3 | 0x18); // PWT, PCD
    expect_equal(read_cr3(), cr3 | 0x18, "CR3 reads back");
    write_cr3(cr3);
}
