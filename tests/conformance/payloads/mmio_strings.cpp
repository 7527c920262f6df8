// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// judges: MOVS, STOS, PUSH and POP move between memory and device registers, with counts, both ways.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    lapic::enable();
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    constexpr u64 count{lapic::base + lapic::initial_count};
    static u32 volatile words[8];
    auto const at = [](void const volatile* p) { return reinterpret_cast<u64>(p); };

    words[0] = 0x13572468;
    u64 rsi{at(&words[0])}, rdi{count};
    asm volatile("movsl" : "+S"(rsi), "+D"(rdi)::"memory");
    expect_equal(mmio_read<u32>(count), 0x13572468, "MOVSD from memory to a device");
    expect_equal(rsi, at(&words[1]), "RSI");
    expect_equal(rdi, count + 4, "RDI");

    rsi = count;
    rdi = at(&words[4]);
    asm volatile("movsl" : "+S"(rsi), "+D"(rdi)::"memory");
    expect_equal(words[4], 0x13572468, "MOVSD from a device to memory");

    // With a count of 1: the next unit would be a reserved address. Then downwards.
    words[0] = 0x24681357;
    rsi = at(&words[0]);
    rdi = count;
    u64 rcx{1};
    asm volatile("rep movsl" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    expect_equal(mmio_read<u32>(count), 0x24681357, "REP MOVSD to a device");
    expect_equal(rcx, 0, "RCX");
    rsi = count;
    rdi = at(&words[5]);
    asm volatile("std; movsl; cld" : "+S"(rsi), "+D"(rdi)::"memory");
    expect_equal(words[5], 0x24681357, "MOVSD downwards");
    expect_equal(rdi, at(&words[4]), "RDI downwards");
    rcx = 0;
    rsi = at(&words[1]);
    rdi = count;
    asm volatile("rep movsl" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    expect_equal(mmio_read<u32>(count), 0x24681357, "REP MOVSD of nothing");

    rdi = count;
    asm volatile("stosl" : "+D"(rdi) : "a"(0x31415926) : "memory");
    expect_equal(mmio_read<u32>(count), 0x31415926, "STOSD");
    expect_equal(rdi, count + 4, "RDI after STOSD");

    // Many units: four registers of the local APIC that are 16 bytes apart do not repeat well; the HPET's comparators
    // do: 64 bits each, and reading the block has no effect.
    static u64 volatile block[16];
    rsi = hpet::base;
    rdi = at(block);
    rcx = 16;
    asm volatile("rep movsq" : "+S"(rsi), "+D"(rdi), "+c"(rcx)::"memory");
    expect_equal(block[0], hpet::read(hpet::capabilities), "the first of 16 quadwords");
    expect_equal(block[2], hpet::read(hpet::configuration), "the third of 16 quadwords");
    expect_equal(rsi, hpet::base + 128, "RSI after 16 quadwords");
    expect_equal(rdi, at(block) + 128, "RDI after 16 quadwords");

    // PUSH and POP with a device as operand, 64 bits wide.
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::counter, 0x1234567);
    u64 value{};
    asm volatile("push (%1); pop %0" : "=r"(value) : "r"(hpet::base + hpet::counter) : "memory");
    expect_equal(value, 0x1234567, "PUSH m64");
    asm volatile("push %1; pop (%0)" ::"r"(hpet::base + hpet::counter), "r"(u64{0x7654321}) : "memory");
    expect_equal(hpet::read(hpet::counter), 0x7654321, "POP m64");
    mmio_write<u32>(count, 0);
}
