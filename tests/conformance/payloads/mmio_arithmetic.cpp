// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_vmx_apicv
// judges: arithmetic and logic with a device register as operand read it, write it, and set the flags as in memory.
#include "devices.hpp"

using namespace payload;

namespace {

constexpr u64 count{lapic::base + lapic::initial_count};
constexpr u64 status_flags{0x8d5}; // OF, SF, ZF, AF, PF, CF

/// An instruction with [RDI] as its memory operand and ECX as the other, a RET behind it.
struct code {
    u8 bytes[12];
};

struct outcome {
    u64 ecx, flags;
};

auto run_on(u64 address, code const& instruction, u32 ecx, u64 flags) -> outcome {
    static code at;
    at = instruction;
    u64 rcx{ecx};
    asm volatile("push %[flags]; popfq; call *%[code]; pushfq; pop %[flags]"
                 : "+c"(rcx), [flags] "+r"(flags)
                 : "D"(address), [code] "r"(&at)
                 : "rax", "memory", "cc");
    return {rcx, flags & status_flags};
}

struct test {
    char const* name;
    code instruction;
    u64 undefined_flags;
};

} // namespace

void payload::run() {
    lapic::enable();
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    constexpr u64 af{0x10};
    static test const tests[]{
        {"ADD m, r", {{0x01, 0x0f, 0xc3}}, 0},
        {"OR m, r", {{0x09, 0x0f, 0xc3}}, af},
        {"ADC m, r", {{0x11, 0x0f, 0xc3}}, 0},
        {"SBB m, r", {{0x19, 0x0f, 0xc3}}, 0},
        {"AND m, r", {{0x21, 0x0f, 0xc3}}, af},
        {"SUB m, r", {{0x29, 0x0f, 0xc3}}, 0},
        {"XOR m, r", {{0x31, 0x0f, 0xc3}}, af},
        {"CMP m, r", {{0x39, 0x0f, 0xc3}}, 0},
        {"ADD r, m", {{0x03, 0x0f, 0xc3}}, 0},
        {"OR r, m", {{0x0b, 0x0f, 0xc3}}, af},
        {"AND r, m", {{0x23, 0x0f, 0xc3}}, af},
        {"SUB r, m", {{0x2b, 0x0f, 0xc3}}, 0},
        {"XOR r, m", {{0x33, 0x0f, 0xc3}}, af},
        {"CMP r, m", {{0x3b, 0x0f, 0xc3}}, 0},
        {"TEST m, r", {{0x85, 0x0f, 0xc3}}, af},
        {"TEST m, imm32", {{0xf7, 0x07, 0x78, 0x56, 0x34, 0x92, 0xc3}}, af},
        {"ADD m, imm32", {{0x81, 0x07, 0x78, 0x56, 0x34, 0x72, 0xc3}}, 0},
        {"OR m, imm8", {{0x83, 0x0f, 0x85, 0xc3}}, af},
        {"AND m, imm8", {{0x83, 0x27, 0xf0, 0xc3}}, af},
        {"SUB m, imm8", {{0x83, 0x2f, 0x7f, 0xc3}}, 0},
        {"XOR m, imm32", {{0x81, 0x37, 0xff, 0x00, 0xff, 0x80, 0xc3}}, af},
        {"CMP m, imm8", {{0x83, 0x3f, 0x01, 0xc3}}, 0},
        {"INC m", {{0xff, 0x07, 0xc3}}, 0},
        {"DEC m", {{0xff, 0x0f, 0xc3}}, 0},
        {"NOT m", {{0xf7, 0x17, 0xc3}}, 0},
        {"NEG m", {{0xf7, 0x1f, 0xc3}}, 0},
        {"XCHG m, r", {{0x87, 0x0f, 0xc3}}, 0},
        {"LOCK OR m, r", {{0xf0, 0x09, 0x0f, 0xc3}}, af},
        {"LOCK ADD m, imm8", {{0xf0, 0x83, 0x07, 0x05, 0xc3}}, 0},
        {"BT m, imm8", {{0x0f, 0xba, 0x27, 0x1f, 0xc3}}, status_flags & ~u64{1}},
        {"BTS m, imm8", {{0x0f, 0xba, 0x2f, 0x03, 0xc3}}, status_flags & ~u64{1}},
        {"BTR m, imm8", {{0x0f, 0xba, 0x37, 0x03, 0xc3}}, status_flags & ~u64{1}},
        {"BTC m, imm8", {{0x0f, 0xba, 0x3f, 0x1e, 0xc3}}, status_flags & ~u64{1}},
    };
    u32 const values[]{0x7fffffff, 0x80000001, 0x92345678, 0x00000001};
    u32 const operands[]{0x00000001, 0x80000000, 0x8765432f};
    for (auto const& t : tests)
        for (auto const value : values)
            for (auto const operand : operands)
                for (u64 cf{}; cf != 2; ++cf) {
                    // Ordinary memory shows what should happen.
                    static u32 volatile memory;
                    memory = value;
                    auto const wanted = run_on(reinterpret_cast<u64>(&memory), t.instruction, operand, 2 | cf);
                    mmio_write<u32>(count, value);
                    auto const got = run_on(count, t.instruction, operand, 2 | cf);
                    expect_equal(mmio_read<u32>(count), memory, t.name);
                    expect_equal(got.ecx, wanted.ecx, t.name);
                    expect_equal(got.flags & ~t.undefined_flags, wanted.flags & ~t.undefined_flags, t.name);
                }
    mmio_write<u32>(count, 0);
}
