// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: SCE and NXE of EFER switch what they name, LMA is the processor's, and LME stays while paging is on.
// reference: no, QEMU takes a change of LME under paging and of bits that do not exist.
#include "payload.hpp"

using namespace payload;

namespace {
constexpr u32 efer{0xc0000080};
constexpr u64 sce{1}, lme{0x100}, lma{0x400}, nxe{0x800};
alignas(4096) u8 code[4096];
} // namespace

void payload::run() {
    auto const old = rdmsr(efer);
    expect_equal(old & (lme | lma), lme | lma, "long mode");

    // LMA cannot be written.
    expect_exception(none, [=] { wrmsr(efer, old & ~lma); }, "EFER without LMA");
    expect_equal(rdmsr(efer), old, "LMA stays");
    expect_exception(vector::protection, [=] { wrmsr(efer, old & ~lme); }, "LME cleared under paging");
    expect_equal(rdmsr(efer), old, "EFER is as it was");
    for (unsigned bit{}; bit != 64; ++bit) {
        constexpr u64 known{sce | lme | lma | nxe | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 15 | 1u << 17 | 1u << 18 |
                            1u << 20 | 1u << 21};
        if ((known >> bit & 1) != 0)
            continue;
        expect_exception(vector::protection, [=] { wrmsr(efer, old | u64{1} << bit); }, "a reserved bit");
        expect_equal(rdmsr(efer), old, "EFER is as it was");
    }

    // Without SCE there is no SYSCALL.
    wrmsr(efer, old & ~sce);
    expect_equal(rdmsr(efer), old & ~sce, "SCE cleared");
    expect_exception(vector::undefined, [] { asm volatile("syscall" ::: "rcx", "r11", "memory"); }, "SYSCALL");
    expect_exception(vector::undefined, [] { asm volatile("sysretq" ::: "memory"); }, "SYSRET");
    wrmsr(efer, old);

    // Without NXE the no-execute bit is reserved, at once.
    static_cast<u8 volatile&>(code[0]) = 0xc3;
    auto const address = reinterpret_cast<u64>(code);
    auto& entry = entry_of(address);
    entry |= page::no_execute;
    invlpg(address);
    auto const fetch = attempt([address] { asm volatile("call *%0" ::"r"(address) : "memory"); });
    expect_equal(fetch.vector, vector::page_fault, "a fetch from a no-execute page");
    expect_equal(fetch.error_code, 0x11, "its error code: a fetch from a present page");
    expect_exception(none, [] { (void)*static_cast<u8 volatile*>(code); }, "a read of it");
    wrmsr(efer, old & ~nxe);
    invlpg(address);
    auto const reserved = attempt([] { (void)*static_cast<u8 volatile*>(code); });
    expect_equal(reserved.vector, vector::page_fault, "a read of it without NXE");
    expect_equal(reserved.error_code & ~u64{1}, 8, "its error code: a reserved bit"); // QEMU does not set P
    expect_equal(reserved.cr2, address, "CR2");
    wrmsr(efer, old);
    invlpg(address);
    expect_exception(none, [] { (void)*static_cast<u8 volatile*>(code); }, "a read of it with NXE again");
    entry &= ~page::no_execute;
    invlpg(address);
    expect_exception(none, [address] { asm volatile("call *%0" ::"r"(address) : "memory"); }, "a fetch at the end");
}
