// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: reserved bits and impossible combinations in CR0, CR3, CR4 and EFER raise #GP and change nothing.
// reference: no, QEMU lets several of them through; Bochs refuses all.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    constexpr u32 efer{0xc0000080};
    auto const cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4(), features = rdmsr(efer);
    auto const refuses_cr0 = [cr0](u64 v, char const* what) {
        expect_exception(vector::protection, [v] { write_cr0(v); }, what);
        expect_equal(read_cr0(), cr0, "CR0 is as it was");
    };
    auto const refuses_cr4 = [cr4](u64 v, char const* what) {
        expect_exception(vector::protection, [v] { write_cr4(v); }, what);
        expect_equal(read_cr4(), cr4, "CR4 is as it was");
    };
    auto const refuses_efer = [features](u64 v, char const* what) {
        expect_exception(vector::protection, [v] { wrmsr(efer, v); }, what);
        expect_equal(rdmsr(efer), features, "EFER is as it was");
    };
    for (unsigned bit{32}; bit != 64; ++bit)
        refuses_cr0(cr0 | u64{1} << bit, "an upper bit of CR0");
    refuses_cr0(cr0 & ~u64{1}, "paging without protection");
    refuses_cr0(cr0 | u64{1} << 29, "not-write-through without cache-disable");

    for (unsigned bit{32}; bit != 64; ++bit)
        refuses_cr4(cr4 | u64{1} << bit, "an upper bit of CR4");
    refuses_cr4(cr4 | u64{1} << 15, "reserved bit 15 of CR4");
    refuses_cr4(cr4 | u64{1} << 19, "reserved bit 19 of CR4 (key locker is hidden)");
    refuses_cr4(cr4 & ~u64{0x20}, "long mode without PAE");
    if ((cpuid(1).ecx >> 5 & 1) == 0)
        refuses_cr4(cr4 | u64{1} << 13, "VMXE where VMX is hidden");
    if ((cpuid(1).ecx >> 26 & 1) == 0)
        refuses_cr4(cr4 | u64{1} << 18, "OSXSAVE where XSAVE is hidden");
    if ((cpuid(1).ecx >> 17 & 1) == 0)
        refuses_cr4(cr4 | u64{1} << 17, "PCIDE where PCID is hidden");

    for (unsigned bit{52}; bit != 63; ++bit)
        expect_exception(vector::protection, [=] { write_cr3(cr3 | u64{1} << bit); }, "an upper bit of CR3");
    expect_equal(read_cr3(), cr3, "CR3 is as it was");
    // Not CR8: it moves without an exit, and QEMU's TCG does not check it.

    unsigned const reserved[]{1, 2, 7, 9, 16, 22, 31, 32, 63};
    for (auto const bit : reserved)
        refuses_efer(features | u64{1} << bit, "a reserved bit of EFER");
    if ((cpuid(0x80000001).ecx >> 2 & 1) == 0)
        refuses_efer(features | u64{1} << 12, "SVME where SVM is hidden");
    refuses_efer(features & ~u64{0x100}, "LME cleared while paging is on");
    expect_exception(none, [=] { wrmsr(efer, features & ~u64{1}); }, "SCE may be cleared");
    wrmsr(efer, features);

    expect_exception(vector::undefined, [] { asm volatile(".byte 0x0f, 0x20, 0xc8" ::: "rax"); }, "MOV from CR1");
    expect_exception(vector::undefined, [] { asm volatile(".byte 0x0f, 0x22, 0xe8" ::: "rax"); }, "MOV to CR5");
    expect_exception(vector::undefined, [] { asm volatile(".byte 0x44, 0x0f, 0x20, 0xc8" ::: "rax"); }, "MOV from CR9");
}
