// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: code that a guest changes runs as changed, also the next instruction, also through another address.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    alignas(4096) static u8 code[4096];
    auto const start = reinterpret_cast<u64>(code);
    auto const call = [start] {
        u64 result{};
        asm volatile("call *%1" : "=&a"(result) : "r"(start) : "memory");
        return result;
    };
    auto* const bytes = const_cast<u8 volatile*>(code);
    bytes[0] = 0xb8; // mov eax, imm32; ret
    bytes[5] = 0xc3;
    for (u32 i{}; i != 1000; ++i) {
        *reinterpret_cast<u32 volatile*>(code + 1) = i;
        expect_equal(call(), i, "a constant changed between two calls");
    }

    // The same page through another address.
    constexpr u64 alias{0x30000000};
    entry_of(alias) = (start & ~u64{0xfff}) | page::present | page::writable;
    invlpg(alias);
    for (u32 i{}; i != 100; ++i) {
        *reinterpret_cast<u32 volatile*>(alias + 1) = i + 5000;
        asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx", "memory"); // serialises
        expect_equal(call(), i + 5000, "a constant changed through another address");
    }

    // The instruction that follows the store: mov byte [rip + 1], 7 ; mov al, 0 ; ret
    u8 const next[]{0x31, 0xc0, 0xc6, 0x05, 0x01, 0, 0, 0, 7, 0xb0, 0, 0xc3};
    for (unsigned i{}; i != sizeof next; ++i)
        bytes[i] = next[i];
    expect_equal(call(), 7, "the next instruction changed");

    // The mapping changes instead of the bytes.
    alignas(4096) static u8 other[4096];
    auto* const others = const_cast<u8 volatile*>(other);
    u8 const constant[]{0xb0, 1, 0xc3}; // mov al, imm8; ret
    for (unsigned i{}; i != sizeof constant; ++i) {
        bytes[i] = constant[i];
        others[i] = constant[i];
    }
    others[1] = 2;
    auto const call_alias = [] {
        u64 result{};
        asm volatile("xor %%eax, %%eax; call *%1" : "=&a"(result) : "r"(alias) : "memory");
        return result;
    };
    for (unsigned i{}; i != 100; ++i) {
        entry_of(alias) =
            ((i % 2 == 0 ? start : reinterpret_cast<u64>(other)) & ~u64{0xfff}) | page::present | page::writable;
        invlpg(alias);
        expect_equal(call_alias(), i % 2 + 1, "code behind a changed mapping");
    }
}
