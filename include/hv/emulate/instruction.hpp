// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/registers.hpp>

#include <cstdint>

namespace hv {

/// Default sizes of the code segment: what CS.L and CS.D say. SDM Vol. 3A, "Code-Segment Descriptor in 64-bit Mode".
enum class code_size : std::uint8_t { bits_16 = 2, bits_32 = 4, bits_64 = 8 };

inline constexpr unsigned longest_instruction{15};

/// What a decoded instruction does. The first eight stand in the order of their encoding. Instructions after `nop`
/// are known by length only, or belong to the vCPU.
enum class operation : std::uint8_t {
    // clang-format off
    add, logical_or, adc, sbb, logical_and, sub, logical_xor, cmp,
    test, logical_not, neg, inc, dec, imul, bextr,
    mov, movzx, movsx, xchg, xadd, cmpxchg, bt, bts, btr, btc,
    push, pop, movs, cmps, stos, lods, scas, in, out, ins, outs,
    mov_control, mov_debug, clts, lmsw, smsw, invlpg, clflush, fence, nop,
    cpuid, hlt, rdmsr, wrmsr, rdtsc, rdtscp, rdpmc, rdpru, invd, wbinvd, pause, monitor, mwait, monitorx, mwaitx,
    xsetbv, vmcall, vmmcall, vmrun, vmload, vmsave, stgi, clgi, skinit, invlpga, swapgs, rsm,
    sldt, str, lldt, ltr, sgdt, sidt, lgdt, lidt,
    int3, int_n, into, int1, iret, pushf, popf, call_far, jmp_far,
    undefined, ///< the encoding is reserved: #UD
    unsupported,
    // clang-format on
};

enum class operand_kind : std::uint8_t { none, gpr, high_byte, memory, immediate, control_register, debug_register };

/// One operand. `number` is the register's; of high_byte 0-3 for AH, CH, DH, BH.
struct operand {
    operand_kind kind{operand_kind::none};
    std::uint8_t number{};
    std::uint8_t size{}; ///< in bytes

    constexpr auto operator==(operand const&) const -> bool = default;
};

/// The parts of a memory operand's effective address.
struct memory_operand {
    static constexpr std::uint8_t no_register{0xff};

    std::uint8_t base{no_register};
    std::uint8_t index{no_register};
    std::uint8_t scale{1};
    bool rip_relative{}; ///< the displacement counts from the end of the instruction
    x86::segment_name segment{x86::segment_name::ds};
    std::int64_t displacement{};

    constexpr auto operator==(memory_operand const&) const -> bool = default;
};

enum class decode_status : std::uint8_t {
    ok,
    truncated,   ///< more bytes are needed
    unsupported, ///< a legal encoding, for all the decoder knows
    undefined,   ///< #UD
    too_long,    ///< more than 15 bytes: #GP(0)
};

enum class repeat_prefix : std::uint8_t { none, while_not_equal = 0xf2, while_equal = 0xf3 };

/// An instruction taken apart. Length and operands hold when `status` is ok; the length also when it is undefined.
struct decoded {
    decode_status status{decode_status::unsupported};
    operation op{operation::unsupported};
    std::uint8_t length{};
    std::uint8_t operand_size{}; ///< in bytes
    std::uint8_t address_size{}; ///< in bytes
    repeat_prefix repeat{repeat_prefix::none};
    bool lock{};
    operand destination{};
    operand source{};
    operand third{};
    memory_operand memory{};   ///< of string instructions only the segment of the source
    std::uint64_t immediate{}; ///< sign-extended where the instruction says so

    constexpr auto operator==(decoded const&) const -> bool = default;
};

} // namespace hv
