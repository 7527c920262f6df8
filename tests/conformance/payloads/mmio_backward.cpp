// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_vmx_apicv
// judges: REP MOVS and STOS at device registers go down with DF set, fault at the right unit and go on from there.
#include "devices.hpp"

using namespace payload;

namespace {
alignas(4096) u8 buffer[2 * 4096];
u64 rcx_seen, rsi_seen, rdi_seen;
} // namespace

void payload::run() {
    auto const first = reinterpret_cast<u64>(buffer), second = first + 4096;
    static auto& entry = entry_of(first);
    set_handler(vector::page_fault, [](frame& f) {
        rcx_seen = f.rcx;
        rsi_seen = f.rsi;
        rdi_seen = f.rdi;
        entry |= page::present;
    });
    auto const unmap = [first] {
        entry &= ~page::present;
        invlpg(first);
    };
    lapic::enable();
    auto const version = lapic::read(lapic::version);

    // From the device: the registers above and below the version are absent ones and read as 0.
    unmap();
    u64 rsi{lapic::base + lapic::version + 8}, rdi{second + 4}, rcx{5};
    asm volatile("std; rep movsl; cld" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    expect_equal(count_of(vector::page_fault), 1, "page faults of a read");
    expect_equal(rcx_seen, 3, "RCX at the fault of a read");
    expect_equal(rsi_seen, lapic::base + lapic::version, "RSI at the fault of a read");
    expect_equal(rdi_seen, second - 4, "RDI at the fault of a read");
    expect_equal(rcx, 0, "RCX behind the read");
    expect_equal(rsi, lapic::base + lapic::version - 12, "RSI behind the read");
    expect_equal(rdi, second - 16, "RDI behind the read");
    expect_equal(*reinterpret_cast<u32 volatile*>(second - 4), version, "the version where it belongs");

    // To the device: task priority, from a source whose lower part is absent.
    auto* const source = reinterpret_cast<u32 volatile*>(second - 4);
    source[0] = 0x30;
    source[1] = 0x50;
    unmap();
    rsi = second;
    rdi = lapic::base + lapic::tpr;
    rcx = 1;
    asm volatile("std; rep movsl; cld" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    expect_equal(count_of(vector::page_fault), 1, "no fault of a source that is there");
    expect_equal(lapic::read(lapic::tpr), 0x50, "what the first unit wrote");
    rdi = lapic::base + lapic::tpr;
    rcx = 1;
    asm volatile("std; rep movsl; cld" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    expect_equal(count_of(vector::page_fault), 2, "the fault of the source");
    expect_equal(rsi_seen, second - 4, "RSI at the fault of the source");
    expect_equal(rdi_seen, lapic::base + lapic::tpr, "RDI at the fault of the source");
    expect_equal(lapic::read(lapic::tpr), 0x30, "what the second unit wrote");
    lapic::write(lapic::tpr, 0);

    // STOS: a device page that the guest maps itself, absent below.
    constexpr u64 window{0x30001000};
    static auto& device = entry_of(window);
    device = lapic::base | page::present | page::writable;
    static auto& below = entry_of(window - 4096);
    below = 0;
    invlpg(window);
    invlpg(window - 4096);
    set_handler(vector::page_fault, [](frame& f) {
        rcx_seen = f.rcx;
        rdi_seen = f.rdi;
        below = (reinterpret_cast<u64>(buffer) & ~u64{0xfff}) | page::present | page::writable;
    });
    rdi = window + 16;
    rcx = 8;
    asm volatile("std; rep stosl; cld" : "+D"(rdi), "+c"(rcx) : "a"(0x11223344) : "memory");
    expect_equal(count_of(vector::page_fault), 3, "page faults of REP STOS");
    expect_equal(rcx_seen, 3, "RCX at the fault of REP STOS");
    expect_equal(rdi_seen, window - 4, "RDI at the fault of REP STOS");
    expect_equal(rcx, 0, "RCX behind REP STOS");
    expect_equal(rdi, window - 16, "RDI behind REP STOS");
    expect_equal(*reinterpret_cast<u32 volatile*>(second - 12), 0x11223344, "the last unit, in memory");
    expect_equal(lapic::read(lapic::version), version, "the device kept what is read-only");
}
