// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: REP MOVS from a device into memory that runs into an absent page faults at the right unit and goes on.
#include "devices.hpp"

using namespace payload;

namespace {
alignas(4096) u8 buffer[2 * 4096];
u64 rcx_seen, rsi_seen, rdi_seen;
} // namespace

void payload::run() {
    auto const second = reinterpret_cast<u64>(buffer + 4096);
    static auto& entry = entry_of(second);
    set_handler(vector::page_fault, [](frame& f) {
        rcx_seen = f.rcx;
        rsi_seen = f.rsi;
        rdi_seen = f.rdi;
        entry |= page::present;
    });
    entry &= ~page::present;
    invlpg(second);
    u64 rsi{hpet::base}, rdi{second - 24}, rcx{8};
    asm volatile("rep movsq" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    expect_equal(count_of(vector::page_fault), 1, "page faults");
    expect_equal(read_cr2(), second, "CR2");
    expect_equal(rcx_seen, 5, "RCX at the fault");
    expect_equal(rsi_seen, hpet::base + 24, "RSI at the fault");
    expect_equal(rdi_seen, second, "RDI at the fault");
    expect_equal(rcx, 0, "RCX at the end");
    expect_equal(rdi, second + 40, "RDI at the end");
    expect_equal(*reinterpret_cast<u64 volatile*>(second - 24), hpet::read(hpet::capabilities), "the first unit");

    // From memory to the device, the source being absent.
    lapic::enable();
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    *reinterpret_cast<u32 volatile*>(second) = 0x600df00d;
    entry &= ~page::present;
    invlpg(second);
    rsi = second;
    rdi = lapic::base + lapic::initial_count;
    asm volatile("movsl" : "+S"(rsi), "+D"(rdi)::"memory");
    expect_equal(count_of(vector::page_fault), 2, "page faults of the source");
    expect_equal(lapic::read(lapic::initial_count), 0x600df00d, "what arrived at the device");

    // A device page that the guest itself maps read-only.
    auto& device = entry_of(lapic::base);
    device &= ~page::writable;
    invlpg(lapic::base);
    set_handler(vector::page_fault, nullptr);
    auto const denied = attempt([] { lapic::write(lapic::initial_count, 1); });
    expect_equal(denied.vector, vector::page_fault, "a write to a read-only device page");
    expect_equal(denied.error_code, 3, "its error code");
    expect_equal(denied.cr2, lapic::base + lapic::initial_count, "its address");
    device |= page::writable;
    invlpg(lapic::base);
    lapic::write(lapic::initial_count, 0);
}
