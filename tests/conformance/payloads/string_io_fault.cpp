// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// smoke: yes
// judges: a page fault inside REP INS or OUTS leaves the registers at the unit that faulted, which did not move.
#include "devices.hpp"

using namespace payload;

namespace {
alignas(4096) u8 buffer[2 * 4096];
u64 rcx_seen, address_seen, cr2_seen;

void map_second_page(frame& f) {
    rcx_seen = f.rcx;
    address_seen = f.rdi;
    cr2_seen = read_cr2();
    entry_of(reinterpret_cast<u64>(buffer + 4096)) |= page::present;
}
void map_source_page(frame& f) {
    rcx_seen = f.rcx;
    address_seen = f.rsi;
    cr2_seen = read_cr2();
    entry_of(reinterpret_cast<u64>(buffer + 4096)) |= page::present;
}
void unmap() {
    auto const second = reinterpret_cast<u64>(buffer + 4096);
    entry_of(second) &= ~page::present;
    invlpg(second);
}
} // namespace

void payload::run() {
    auto const second = reinterpret_cast<u64>(buffer + 4096);
    auto const old = rtc::read(0x40);
    rtc::write(0x40, 0x5a);

    set_handler(vector::page_fault, map_second_page);
    unmap();
    u64 rdi{second - 6}, rcx{16};
    asm volatile("rep insb" : "+D"(rdi), "+c"(rcx) : "d"(u16{0x71}) : "memory");
    expect_equal(count_of(vector::page_fault), 1, "page faults of REP INSB");
    expect_equal(rcx_seen, 10, "RCX at the fault");
    expect_equal(address_seen, second, "RDI at the fault");
    expect_equal(cr2_seen, second, "CR2");
    expect_equal(rcx, 0, "RCX at the end");
    expect_equal(rdi, second + 10, "RDI at the end");
    for (unsigned i{4090}; i != 4106; ++i)
        expect_equal(buffer[i], 0x5a, "a byte of REP INSB");

    // A unit on both pages is not moved before the second page is there.
    unmap();
    rdi = second - 5;
    rcx = 4;
    asm volatile("rep insw" : "+D"(rdi), "+c"(rcx) : "d"(u16{pm::control}) : "memory");
    expect_equal(count_of(vector::page_fault), 2, "page faults of REP INSW");
    expect_equal(rcx_seen, 2, "RCX at the fault of the split word");
    expect_equal(address_seen, second - 1, "RDI at the fault of the split word");
    expect_equal(rdi, second + 3, "RDI at the end of REP INSW");

    set_handler(vector::page_fault, map_source_page);
    unmap();
    u64 rsi{second - 3};
    rcx = 8;
    asm volatile("rep outsb" : "+S"(rsi), "+c"(rcx) : "d"(u16{0x80}) : "memory");
    expect_equal(count_of(vector::page_fault), 3, "page faults of REP OUTSB");
    expect_equal(rcx_seen, 5, "RCX at the fault of REP OUTSB");
    expect_equal(address_seen, second, "RSI at the fault of REP OUTSB");
    expect_equal(rsi, second + 5, "RSI at the end of REP OUTSB");
    rtc::write(0x40, old);

    // A port is not read for a byte that cannot be stored: the UART still has it.
    set_handler(vector::page_fault, nullptr);
    out8(0x3fb, 3);    // 8 bits
    out8(0x3fc, 0x10); // loopback
    out8(0x3f8, 0x42);
    expect(wait_until(100, [] { return (in8(0x3fd) & 1) != 0; }), "the UART received what it sent");
    unmap();
    auto const absent = attempt([second] {
        u64 to{second};
        asm volatile("insb" : "+D"(to) : "d"(u16{0x3f8}) : "memory");
    });
    expect_equal(absent.vector, vector::page_fault, "INSB to an absent page");
    expect_equal(absent.error_code, 2, "it is a write");
    expect_equal(in8(0x3fd) & 1, 1, "the byte is still there");
    expect_equal(in8(0x3f8), 0x42, "the byte");
    out8(0x3fc, 0);
}
