// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_xsave
// smoke: yes
// judges: page tables mean what the manual says: permissions, accessed and dirty flags, flushes, reserved bits.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    constexpr u64 window{0x30000000};
    alignas(4096) static u64 volatile target[2][512];
    auto& entry = entry_of(window);
    auto const physical = [](void const volatile* p) { return reinterpret_cast<u64>(p); };
    auto const at = reinterpret_cast<u64 volatile*>(window);
    auto const map = [&](u64 value) {
        entry = value;
        invlpg(window);
    };
    target[0][0] = 0x1111;
    target[1][0] = 0x2222;

    map(physical(target[0]) | page::present | page::writable);
    expect_equal(at[0], 0x1111, "the first page");
    expect_equal(entry & (page::accessed | page::dirty), page::accessed, "accessed by a read");
    at[1] = 7;
    expect_equal(entry & (page::accessed | page::dirty), page::accessed | page::dirty, "dirty by a write");
    map(physical(target[1]) | page::present);
    expect_equal(at[0], 0x2222, "the second page, after INVLPG");
    auto const denied = attempt([at] { at[0] = 1; });
    expect_equal(denied.vector, vector::page_fault, "a write to a read-only page");
    expect_equal(denied.error_code, 3, "its error code");
    expect_equal(entry & page::dirty, 0, "a denied write does not make a page dirty");

    map(physical(target[1]) | page::present | page::writable | page::no_execute);
    auto const fetch = attempt([] { asm volatile("call *%0" ::"r"(window)); });
    expect_equal(fetch.vector, vector::page_fault, "a fetch from a no-execute page");
    expect_equal(fetch.error_code, 0x11, "its error code");
    map(physical(target[1]) | page::present | u64{1} << 51);
    auto const reserved = attempt([at] { (void)at[0]; });
    if ((cpuid(0x80000008).eax & 0xff) < 52) {
        expect_equal(reserved.vector, vector::page_fault, "a reserved bit in an entry");
        expect_equal(reserved.error_code & 8, 8, "its error code");
    }

    // The same page twice: a store through one is seen through the other.
    map(physical(target[0]) | page::present | page::writable);
    entry_of(window + 4096) = physical(target[0]) | page::present | page::writable;
    invlpg(window + 4096);
    for (u64 i{}; i != 512; ++i) {
        at[i] = i;
        expect_equal(at[512 + i], i, "an alias");
    }

    // A thousand remappings, each flushed by a CR3 load.
    for (u64 i{}; i != 1000; ++i) {
        target[i % 2][3] = i;
        entry = physical(target[i % 2]) | page::present | page::writable;
        write_cr3(read_cr3());
        expect_equal(at[3], i, "a mapping after a CR3 load");
    }

    // Global pages survive a CR3 load, and end by INVLPG or by CR4.PGE.
    write_cr4(read_cr4() | 0x80);
    map(physical(target[0]) | page::present | page::writable | 0x100);
    (void)at[3];
    write_cr4(read_cr4() & ~u64{0x80});
    entry = physical(target[1]) | page::present | page::writable;
    target[1][3] = 0xabc;
    write_cr4(read_cr4() | 0x80);
    write_cr4(read_cr4() & ~u64{0x80});
    expect_equal(at[3], 0xabc, "a mapping after CR4.PGE changed");
}
