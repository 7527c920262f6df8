// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: breakpoints see what instructions access that a hypervisor serves, or come before them.
// reference: no, QEMU has no breakpoints on its own devices' strings.
#include "devices.hpp"

using namespace payload;

namespace {
u64 volatile hits, status, rip_seen;

constexpr u64 idle6{0xffff0ff0}, idle7{0x400};
constexpr u64 on_write{1}, on_any{3}, one{0}, four{3};

/// Breakpoint 0 at an address.
void arm(u64 address, u64 kind, u64 size) {
    hits = 0;
    status = 0;
    write_dr<6>(idle6);
    write_dr<0>(address);
    write_dr<7>(idle7 | 2 | kind << 16 | size << 18);
}
void disarm() {
    write_dr<7>(idle7);
}
void record(frame& f) {
    hits = hits + 1;
    status = read_dr<6>();
    rip_seen = f.rip;
    write_dr<6>(idle6);
}
/// DR6 of a break on an instruction is breakpoint_status's to judge.
void judge(u64 wanted, char const* what, bool names = true) {
    disarm();
    expect_equal(hits, wanted, what);
    if (wanted != 0 and names)
        expect_equal(status & 0xf, 1, "DR6.B0");
}
} // namespace

void payload::run() {
    alignas(8) static u32 volatile memory[4];
    set_handler(vector::debug, record);
    auto const address = reinterpret_cast<u64>(memory);

    // Memory that IN and MOVS from a device write.
    arm(address, on_write, four);
    u64 rdi{address};
    asm volatile("insb" : "+D"(rdi) : "d"(u16{0x71}) : "memory");
    judge(1, "INSB to the watched word");
    arm(address + 8, on_write, four);
    u64 rsi{lapic::base + lapic::version};
    rdi = address;
    u64 rcx{4};
    asm volatile("rep movsl" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    judge(1, "REP MOVSD from a device over the watched word");
    expect_equal(rcx, 0, "RCX behind it");
    arm(address, on_any, one);
    rsi = address;
    asm volatile("outsb" : "+S"(rsi) : "d"(u16{0x80}) : "memory");
    judge(1, "OUTSB from the watched byte");
    arm(address, on_write, one);
    rsi = address;
    asm volatile("outsb" : "+S"(rsi) : "d"(u16{0x80}) : "memory");
    judge(0, "OUTSB from a byte watched for writes");

    // The device's own register.
    lapic::enable();
    arm(lapic::base + lapic::tpr, on_any, four);
    (void)lapic::read(lapic::tpr);
    judge(1, "a read of a watched register");
    arm(lapic::base + lapic::tpr, on_write, four);
    (void)lapic::read(lapic::tpr);
    expect_equal(hits, 0, "a read of a register watched for writes");
    lapic::write(lapic::tpr, 0);
    judge(1, "a write of it");
    arm(lapic::base + lapic::tpr, on_write, four);
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    judge(0, "a write of another register");

    // Before an instruction that exits; RF lets it run then.
    set_handler(vector::debug, [](frame& f) {
        record(f);
        f.rflags |= u64{1} << 16;
    });
    u64 at{};
    asm volatile("lea 1f(%%rip), %0" : "=r"(at));
    arm(at, 0, 0);
    asm volatile("1: cpuid" ::"a"(0) : "rbx", "rcx", "rdx", "memory");
    judge(1, "a break on CPUID", false);
    expect_equal(rip_seen, at, "before it");
    asm volatile("lea 1f(%%rip), %0" : "=r"(at));
    arm(at, 0, 0);
    asm volatile("1: outb %%al, $0x80" ::: "memory");
    judge(1, "a break on OUT", false);
}
