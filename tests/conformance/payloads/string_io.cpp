// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: INS and OUTS of each width move each unit once, up and down, across pages, and leave RSI, RDI and RCX right.
#include "devices.hpp"

using namespace payload;

namespace {

alignas(4096) u8 buffer[3 * 4096];

struct ends {
    u64 source, destination, count;
};

template <unsigned Width>
auto rep_ins(u16 port, void* to, u64 count, bool down = false) -> ends {
    u64 rdi{reinterpret_cast<u64>(to)}, rcx{count};
    if (down)
        asm volatile("std");
    if constexpr (Width == 1)
        asm volatile("rep insb" : "+D"(rdi), "+c"(rcx) : "d"(port) : "memory");
    else if constexpr (Width == 2)
        asm volatile("rep insw" : "+D"(rdi), "+c"(rcx) : "d"(port) : "memory");
    else
        asm volatile("rep insl" : "+D"(rdi), "+c"(rcx) : "d"(port) : "memory");
    asm volatile("cld");
    return {0, rdi, rcx};
}

template <unsigned Width>
auto rep_outs(u16 port, void const* from, u64 count, bool down = false) -> ends {
    u64 rsi{reinterpret_cast<u64>(from)}, rcx{count};
    if (down)
        asm volatile("std");
    if constexpr (Width == 1)
        asm volatile("rep outsb" : "+S"(rsi), "+c"(rcx) : "d"(port) : "memory");
    else if constexpr (Width == 2)
        asm volatile("rep outsw" : "+S"(rsi), "+c"(rcx) : "d"(port) : "memory");
    else
        asm volatile("rep outsl" : "+S"(rsi), "+c"(rcx) : "d"(port) : "memory");
    asm volatile("cld");
    return {rsi, 0, rcx};
}

void fill(u8 value) {
    for (auto& b : buffer)
        b = value;
}

} // namespace

void payload::run() {
    constexpr u16 cmos_data{0x71}, pm_control{pm::control};
    auto* const middle = buffer + 4096;
    auto const at = [](void const* p) { return reinterpret_cast<u64>(p); };

    // IN from a register that keeps its value: byte 0x40 of CMOS memory.
    auto const old = rtc::read(0x40);
    rtc::write(0x40, 0x5a);
    fill(0);
    auto r = rep_ins<1>(cmos_data, middle - 10, 20);
    expect_equal(r.destination, at(middle + 10), "RDI after REP INSB across a page");
    expect_equal(r.count, 0, "RCX after REP INSB");
    for (int i{-10}; i != 10; ++i)
        expect_equal(middle[i], 0x5a, "a byte of REP INSB");
    expect(middle[-11] == 0 and middle[10] == 0, "nothing around it");

    fill(0);
    r = rep_ins<1>(cmos_data, middle + 3, 8, true);
    expect_equal(r.destination, at(middle - 5), "RDI after REP INSB downwards");
    expect(middle[3] == 0x5a and middle[-4] == 0x5a and middle[4] == 0 and middle[-5] == 0,
           "bytes of REP INSB downwards");

    fill(1);
    r = rep_ins<1>(cmos_data, middle, 0);
    expect_equal(r.destination, at(middle), "RDI after REP INSB of nothing");
    expect_equal(middle[0], 1, "REP INSB of nothing writes nothing");

    // Two bytes wide, not aligned, so that one unit lies on both pages: the control register of the ACPI block.
    auto const control = in16(pm_control);
    fill(0xee);
    r = rep_ins<2>(pm_control, middle - 3, 4);
    expect_equal(r.destination, at(middle + 5), "RDI after REP INSW");
    for (int i{}; i != 4; ++i)
        expect_equal(u32{middle[2 * i - 3]} | u32{middle[2 * i - 2]} << 8, control, "a word of REP INSW");
    expect(middle[-4] == 0xee and middle[5] == 0xee, "nothing around it");

    fill(0);
    r = rep_ins<4>(pm::timer, middle - 6, 3);
    expect_equal(r.destination, at(middle + 6), "RDI after REP INSD");
    auto const value = [&](int i) {
        return (u32{middle[i]} | u32{middle[i + 1]} << 8 | u32{middle[i + 2]} << 16) & pm::ticks_mask;
    };
    expect(((value(-2) - value(-6)) & pm::ticks_mask) < pm::frequency, "double words of REP INSD are times in order");

    // OUT: the last byte written to CMOS stays.
    for (unsigned i{}; i != 16; ++i)
        middle[static_cast<int>(i) - 8] = static_cast<u8>(0x10 + i);
    out8(0x70, 0x40);
    r = rep_outs<1>(cmos_data, middle - 8, 16);
    expect_equal(r.source, at(middle + 8), "RSI after REP OUTSB");
    expect_equal(r.count, 0, "RCX after REP OUTSB");
    expect_equal(rtc::read(0x40), 0x1f, "the last byte of REP OUTSB");
    out8(0x70, 0x40);
    r = rep_outs<1>(cmos_data, middle + 7, 16, true);
    expect_equal(r.source, at(middle - 9), "RSI after REP OUTSB downwards");
    expect_equal(rtc::read(0x40), 0x10, "the last byte of REP OUTSB downwards");
    r = rep_outs<2>(0x80, middle, 5);
    expect_equal(r.source, at(middle + 10), "RSI after REP OUTSW");
    r = rep_outs<4>(0x80, middle, 5);
    expect_equal(r.source, at(middle + 20), "RSI after REP OUTSD");

    // A long one: a hypervisor may serve it in pieces.
    out8(0x70, 0x40);
    fill(0x77);
    r = rep_outs<1>(cmos_data, buffer, sizeof buffer);
    expect_equal(r.source, at(buffer) + sizeof buffer, "RSI after a long REP OUTSB");
    rtc::write(0x40, 0x33);
    r = rep_ins<1>(cmos_data, buffer, sizeof buffer);
    expect_equal(r.destination, at(buffer) + sizeof buffer, "RDI after a long REP INSB");
    for (auto const b : buffer)
        if (b != 0x33) {
            fail("a byte of a long REP INSB");
            break;
        }

    // 32-bit addresses: the upper halves of RSI and RCX do not count.
    u64 rsi{at(middle) | u64{0xabcd} << 32}, rcx{u64{0xffff} << 32 | 2};
    asm volatile("addr32 rep outsb" : "+S"(rsi), "+c"(rcx) : "d"(u16{0x80}) : "memory");
    expect_equal(rsi, at(middle) + 2, "ESI after REP OUTSB with 32-bit addresses");
    expect_equal(rcx, 0, "ECX after REP OUTSB with 32-bit addresses");
    rtc::write(0x40, old);
}
