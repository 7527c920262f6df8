// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: CR3 takes addresses as wide as CPUID says; a bit above raises #GP, from each register and with MOV's forms.
// reference: no, QEMU does not check CR3.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    auto const old = read_cr3();
    auto const width = cpuid(0x80000008).eax & 0xff;
    expect_between(width, 36, 52, "physical address bits");
    for (unsigned bit{width}; bit != 63; ++bit) {
        auto const got = attempt([=] { write_cr3(old | u64{1} << bit); });
        expect_equal(got.vector, vector::protection, "a bit of CR3 above the width");
        expect_equal(got.error_code, 0, "its error code");
        expect_equal(read_cr3(), old, "CR3 is as it was");
    }
    // Bit 63 means something with PCIDs only.
    if ((cpuid(1).ecx >> 17 & 1) == 0)
        expect_exception(vector::protection, [=] { write_cr3(old | u64{1} << 63); }, "bit 63 of CR3");
    expect_equal(read_cr3(), old, "CR3 is as it was");

    // The same by other registers: R8 to R15 have a prefix.
    auto const bad = old | u64{1} << (width < 52 ? width : 52);
    expect_exception(
        vector::protection, [bad] { asm volatile("mov %0, %%r15; mov %%r15, %%cr3" ::"r"(bad)
                                                 : "r15"); }, "from R15");
    expect_exception(
        vector::protection, [bad] { asm volatile("mov %0, %%rsi; mov %%rsi, %%cr3" ::"r"(bad)
                                                 : "rsi"); }, "from RSI");
    expect_equal(read_cr3(), old, "CR3 is as it was");
    for (unsigned bit{3}; bit != 5; ++bit) {
        write_cr3(old | u64{1} << bit);
        expect_equal(read_cr3(), old | u64{1} << bit, "PWT and PCD read back");
    }
    write_cr3(old);

    // A new table takes effect at once.
    alignas(4096) static u64 table[512];
    auto const* const from = reinterpret_cast<u64 const*>(old & ~u64{0xfff});
    for (unsigned i{}; i != 512; ++i)
        table[i] = from[i];
    table[1] = from[0]; // 512 GiB above
    static u64 volatile word{0x600df00d};
    auto const above = reinterpret_cast<u64>(&word) + (u64{1} << 39);
    expect_exception(vector::page_fault, [above] { (void)*reinterpret_cast<u64 volatile*>(above); }, "without it");
    write_cr3(reinterpret_cast<u64>(table));
    expect_equal(*reinterpret_cast<u64 volatile*>(above), 0x600df00d, "memory through the new table");
    write_cr3(old);
    expect_exception(vector::page_fault, [above] { (void)*reinterpret_cast<u64 volatile*>(above); }, "and behind it");
}
