// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/instruction.hpp>

#include <array>
#include <cstdint>

/// The opcode maps as data. SDM Vol. 2D, "Opcode Map"; APM Vol. 3, "Opcode and Operand Encodings".
namespace hv::opcode_map {

/// Where an operand is encoded.
enum class slot : std::uint8_t {
    none,
    rm,
    reg,
    accumulator,
    opcode_register, ///< low three bits of the opcode
    immediate_8,     ///< zero-extended
    signed_8,        ///< one byte, sign-extended
    immediate,       ///< 16 or 32 bits, sign-extended
    immediate_full,  ///< 16, 32 or 64 bits
    offset,          ///< address without ModRM
    far_pointer,     ///< 16 or 32 bits of offset, then a selector
    dx,
    control_register, ///< named by ModRM.reg; ModRM.rm names a general register whatever mod says
    debug_register,
    vex_register, ///< named by VEX.vvvv
};

/// How an operand's size follows from prefixes and mode.
enum class width : std::uint8_t {
    byte,
    word,
    dword,
    operand, ///< 2, 4 or 8
    port,    ///< 2 or 4
    stack,   ///< as operand, but 8 instead of 4 in 64-bit code
    natural, ///< 4, or 8 in 64-bit code, whatever the prefixes
};

/// The groups that ModRM.reg selects from.
enum class group : std::uint8_t { none, g1, g1a, g3, g4, g5, g6, g7, g8, g11, g15, count };

/// In which code the opcode means this.
enum class validity : std::uint8_t { always, not_in_64, only_in_64 };

struct row {
    operation op{operation::unsupported};
    slot destination{slot::none};
    slot source{slot::none};
    width size{width::operand};
    width source_size{width::operand};
    validity valid{validity::always};
    group select{group::none};
    slot third{slot::none};
};

namespace detail {

inline constexpr auto in_group(group select, width size, slot source = slot::none, validity valid = validity::always)
    -> row {
    return {operation::unsupported, slot::rm, source, size, size, valid, select};
}

inline constexpr auto simple(operation op, width size = width::operand) -> row {
    return {op, slot::none, slot::none, size, size};
}

consteval auto one_byte() -> std::array<row, 256> {
    using enum operation;
    using enum slot;
    std::array<row, 256> m{};
    auto const put = [&m](unsigned at, operation op, slot d, slot s, width w, validity valid = validity::always) {
        m[at] = {op, d, s, w, w, valid};
    };
    // Opcode bit 0 tells bytes from words nearly everywhere.
    auto const pair = [&put](unsigned at, operation op, slot d, slot s, width wide = width::operand) {
        put(at, op, d, s == immediate ? immediate_8 : s, width::byte);
        put(at + 1, op, d, s, wide);
    };
    for (unsigned i{0}; i < 8; ++i) {
        auto const op = static_cast<operation>(i);
        pair(i * 8, op, rm, reg);
        pair(i * 8 + 2, op, reg, rm);
        pair(i * 8 + 4, op, accumulator, immediate);
        put(0x40 + i, inc, opcode_register, none, width::operand, validity::not_in_64);
        put(0x48 + i, dec, opcode_register, none, width::operand, validity::not_in_64);
        put(0x50 + i, push, none, opcode_register, width::stack);
        put(0x58 + i, pop, opcode_register, none, width::stack);
        put(0x90 + i, xchg, opcode_register, accumulator, width::operand);
        put(0xb0 + i, mov, opcode_register, immediate_8, width::byte);
        put(0xb8 + i, mov, opcode_register, immediate_full, width::operand);
    }
    m[0x63] = {movsx, reg, rm, width::operand, width::dword, validity::only_in_64};
    put(0x68, push, none, immediate, width::stack);
    m[0x69] = {imul, reg, rm, width::operand, width::operand, validity::always, group::none, immediate};
    put(0x6a, push, none, signed_8, width::stack);
    m[0x6b] = {imul, reg, rm, width::operand, width::operand, validity::always, group::none, signed_8};
    pair(0x6c, ins, none, none, width::port);
    pair(0x6e, outs, none, none, width::port);
    m[0x80] = in_group(group::g1, width::byte, immediate_8);
    m[0x81] = in_group(group::g1, width::operand, immediate);
    m[0x82] = in_group(group::g1, width::byte, immediate_8, validity::not_in_64);
    m[0x83] = in_group(group::g1, width::operand, signed_8);
    pair(0x84, test, rm, reg);
    pair(0x86, xchg, rm, reg);
    pair(0x88, mov, rm, reg);
    pair(0x8a, mov, reg, rm);
    m[0x8f] = in_group(group::g1a, width::stack);
    put(0x9a, call_far, none, far_pointer, width::operand, validity::not_in_64);
    m[0x9c] = simple(pushf, width::stack);
    m[0x9d] = simple(popf, width::stack);
    pair(0xa0, mov, accumulator, offset);
    pair(0xa2, mov, offset, accumulator);
    pair(0xa4, movs, none, none);
    pair(0xa6, cmps, none, none);
    pair(0xa8, test, accumulator, immediate);
    pair(0xaa, stos, none, none);
    pair(0xac, lods, none, none);
    pair(0xae, scas, none, none);
    m[0xc6] = in_group(group::g11, width::byte, immediate_8);
    m[0xc7] = in_group(group::g11, width::operand, immediate);
    m[0xcc] = simple(int3);
    put(0xcd, int_n, none, immediate_8, width::byte);
    put(0xce, into, none, none, width::operand, validity::not_in_64);
    m[0xcf] = simple(iret);
    pair(0xe4, in, accumulator, immediate, width::port);
    pair(0xe6, out, immediate, accumulator, width::port);
    m[0xe5].source = m[0xe6].destination = m[0xe7].destination = immediate_8;
    put(0xea, jmp_far, none, far_pointer, width::operand, validity::not_in_64);
    pair(0xec, in, accumulator, dx, width::port);
    pair(0xee, out, dx, accumulator, width::port);
    m[0xf1] = simple(int1);
    m[0xf4] = simple(hlt);
    m[0xf6] = in_group(group::g3, width::byte);
    m[0xf7] = in_group(group::g3, width::operand);
    m[0xfe] = in_group(group::g4, width::byte);
    m[0xff] = in_group(group::g5, width::operand);
    return m;
}

consteval auto two_byte() -> std::array<row, 256> {
    using enum operation;
    using enum slot;
    std::array<row, 256> m{};
    auto const put = [&m](unsigned at, operation op, slot d, slot s, width w, validity valid = validity::always) {
        m[at] = {op, d, s, w, w, valid};
    };
    m[0x00] = in_group(group::g6, width::word);
    m[0x01] = in_group(group::g7, width::operand);
    m[0x06] = simple(clts);
    m[0x08] = simple(invd);
    m[0x09] = simple(wbinvd);
    m[0x0b] = simple(undefined); // UD2
    for (unsigned const at : {0x0du, 0x18u, 0x1fu})
        put(at, nop, rm, none, width::operand);
    put(0x20, mov_control, rm, control_register, width::natural);
    put(0x21, mov_debug, rm, debug_register, width::natural);
    put(0x22, mov_control, control_register, rm, width::natural);
    put(0x23, mov_debug, debug_register, rm, width::natural);
    m[0x30] = simple(wrmsr);
    m[0x31] = simple(rdtsc);
    m[0x32] = simple(rdmsr);
    m[0x33] = simple(rdpmc);
    m[0xa2] = simple(cpuid);
    m[0xaa] = simple(rsm);
    put(0xa3, bt, rm, reg, width::operand);
    put(0xab, bts, rm, reg, width::operand);
    put(0xb3, btr, rm, reg, width::operand);
    put(0xbb, btc, rm, reg, width::operand);
    m[0xae] = in_group(group::g15, width::byte);
    put(0xaf, imul, reg, rm, width::operand);
    put(0xb0, cmpxchg, rm, reg, width::byte);
    put(0xb1, cmpxchg, rm, reg, width::operand);
    m[0xb6] = {movzx, reg, rm, width::operand, width::byte};
    m[0xb7] = {movzx, reg, rm, width::operand, width::word};
    m[0xbe] = {movsx, reg, rm, width::operand, width::byte};
    m[0xbf] = {movsx, reg, rm, width::operand, width::word};
    m[0xba] = in_group(group::g8, width::operand, immediate_8);
    put(0xc0, xadd, rm, reg, width::byte);
    put(0xc1, xadd, rm, reg, width::operand);
    return m;
}

} // namespace detail

inline constexpr std::array<row, 256> one_byte{detail::one_byte()};
inline constexpr std::array<row, 256> two_byte{detail::two_byte()}; ///< after 0F

/// What ModRM.reg makes of a group. Group 7 and 15 with mod 3 are `with_register` below.
inline constexpr operation groups[static_cast<unsigned>(group::count)][8]{
    {},
    {operation::add, operation::logical_or, operation::adc, operation::sbb, operation::logical_and, operation::sub,
     operation::logical_xor, operation::cmp},
    {operation::pop, operation::unsupported, operation::unsupported, operation::unsupported, operation::unsupported,
     operation::unsupported, operation::unsupported, operation::unsupported}, // the others may be XOP
    {operation::test, operation::test, operation::logical_not, operation::neg, operation::unsupported,
     operation::unsupported, operation::unsupported, operation::unsupported},
    {operation::inc, operation::dec, operation::undefined, operation::undefined, operation::undefined,
     operation::undefined, operation::undefined, operation::undefined},
    {operation::inc, operation::dec, operation::unsupported, operation::call_far, operation::unsupported,
     operation::jmp_far, operation::push, operation::undefined},
    {operation::sldt, operation::str, operation::lldt, operation::ltr, operation::unsupported, operation::unsupported,
     operation::undefined, operation::undefined},
    {operation::sgdt, operation::sidt, operation::lgdt, operation::lidt, operation::smsw, operation::unsupported,
     operation::lmsw, operation::invlpg},
    {operation::undefined, operation::undefined, operation::undefined, operation::undefined, operation::bt,
     operation::bts, operation::btr, operation::btc},
    {operation::mov, operation::undefined, operation::undefined, operation::undefined, operation::undefined,
     operation::undefined, operation::undefined, operation::unsupported}, // XABORT and XBEGIN
    {operation::unsupported, operation::unsupported, operation::unsupported, operation::unsupported,
     operation::unsupported, operation::unsupported, operation::unsupported, operation::clflush},
};

/// 0F 01 with mod 3: the whole ModRM byte is the opcode.
[[nodiscard, gnu::cold]] constexpr auto system_instruction(std::uint8_t modrm) -> operation {
    switch (modrm) {
    case 0xc1:
        return operation::vmcall;
    case 0xc8:
        return operation::monitor;
    case 0xc9:
        return operation::mwait;
    case 0xd1:
        return operation::xsetbv;
    case 0xd8:
        return operation::vmrun;
    case 0xd9:
        return operation::vmmcall;
    case 0xda:
        return operation::vmload;
    case 0xdb:
        return operation::vmsave;
    case 0xdc:
        return operation::stgi;
    case 0xdd:
        return operation::clgi;
    case 0xde:
        return operation::skinit;
    case 0xdf:
        return operation::invlpga;
    case 0xf8:
        return operation::swapgs;
    case 0xf9:
        return operation::rdtscp;
    case 0xfa:
        return operation::monitorx;
    case 0xfb:
        return operation::mwaitx;
    case 0xfd:
        return operation::rdpru;
    default:
        break;
    }
    switch (modrm >> 3 & 7) {
    case 4:
        return operation::smsw;
    case 6:
        return operation::lmsw;
    default:
        return operation::unsupported;
    }
}

} // namespace hv::opcode_map
