// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: with DF set REP INS and OUTS go down in memory, and go on behind a page fault in their middle.
#include "devices.hpp"

using namespace payload;

namespace {
alignas(4096) u8 buffer[2 * 4096];
u64 rcx_seen, rdi_seen, rsi_seen, df_seen;
} // namespace

void payload::run() {
    auto const first = reinterpret_cast<u64>(buffer), second = first + 4096;
    static auto& entry = entry_of(first);
    set_handler(vector::page_fault, [](frame& f) {
        rcx_seen = f.rcx;
        rdi_seen = f.rdi;
        rsi_seen = f.rsi;
        df_seen = f.rflags >> 10 & 1;
        entry |= page::present;
    });
    auto const unmap = [first] {
        entry &= ~page::present;
        invlpg(first);
    };
    auto const old = rtc::read(0x40);
    rtc::write(0x40, 0x5a);

    // Words: the unit that lies across the pages faults as a whole.
    unmap();
    u64 rdi{second + 3}, rcx{5};
    asm volatile("std; rep insb; cld" : "+D"(rdi), "+c"(rcx) : "d"(u16{0x71}) : "memory");
    expect_equal(count_of(vector::page_fault), 1, "page faults of REP INSB");
    expect_equal(rcx_seen, 1, "RCX at the fault of REP INSB");
    expect_equal(rdi_seen, second - 1, "RDI at the fault of REP INSB");
    expect_equal(df_seen, 1, "DF in the saved flags");
    expect_equal(rcx, 0, "RCX behind REP INSB");
    expect_equal(rdi, second - 2, "RDI behind REP INSB");
    for (unsigned i{4095}; i != 4100; ++i)
        expect_equal(buffer[i], 0x5a, "a byte of REP INSB");
    expect_equal(buffer[4094], 0, "the byte below");
    expect_equal(buffer[4100], 0, "the byte above");

    unmap();
    rdi = second + 7;
    rcx = 4;
    asm volatile("std; rep insl; cld" : "+D"(rdi), "+c"(rcx) : "d"(u16{0x1234}) : "memory");
    expect_equal(count_of(vector::page_fault), 2, "page faults of REP INSD");
    expect_equal(rcx_seen, 2, "RCX at the fault of the split unit");
    expect_equal(rdi_seen, second - 1, "RDI at the fault of the split unit");
    expect_equal(rdi, second - 9, "RDI behind REP INSD");
    expect_equal(buffer[4095 - 8], 0, "the byte below the last unit");
    expect_equal(buffer[4096 + 10], 0xff, "the highest byte of the first unit");
    expect_equal(buffer[4096 + 11], 0, "the byte above it");

    unmap();
    u64 rsi{second + 2};
    rcx = 6;
    asm volatile("std; rep outsw; cld" : "+S"(rsi), "+c"(rcx) : "d"(u16{0x80}) : "memory");
    expect_equal(count_of(vector::page_fault), 3, "page faults of REP OUTSW");
    expect_equal(rcx_seen, 4, "RCX at the fault of REP OUTSW");
    expect_equal(rsi_seen, second - 2, "RSI at the fault of REP OUTSW");
    expect_equal(rcx, 0, "RCX behind REP OUTSW");
    expect_equal(rsi, second - 10, "RSI behind REP OUTSW");

    // RCX of 0 touches nothing, and 32-bit addresses wrap within the lower half of the register.
    unmap();
    rsi = second - 8;
    rdi = second - 8;
    rcx = 0;
    asm volatile("rep outsb; rep insb" : "+S"(rsi), "+D"(rdi), "+c"(rcx) : "d"(u16{0x80}) : "memory");
    expect_equal(count_of(vector::page_fault), 3, "no fault for no unit");
    expect_equal(rsi, second - 8, "RSI stays");
    expect_equal(rdi, second - 8, "RDI stays");
    entry |= page::present;
    rdi = second | u64{0xabcd} << 32;
    rcx = u64{0x7777} << 32 | 2;
    asm volatile("addr32 rep insb" : "+D"(rdi), "+c"(rcx) : "d"(u16{0x1234}) : "memory");
    expect_equal(rdi, second + 2, "EDI was written, and clears the upper half");
    expect_equal(rcx, 0, "ECX was written, and clears the upper half");
    rtc::write(0x40, old);
}
