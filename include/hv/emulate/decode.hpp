// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/opcode_map.hpp>
#include <hv/emulate/prefixes.hpp>

#include <cstdint>
#include <span>

namespace hv {

namespace detail {

/// Takes an instruction apart front to back. SDM Vol. 2A, "Instruction Format".
class instruction_reader {
  public:
    constexpr instruction_reader(std::span<std::uint8_t const> bytes, code_size mode) : bytes_{bytes}, mode_{mode} {}

    [[gnu::cold]] constexpr auto read() -> decoded {
        opcode_ = take_prefixes(bytes_, prefix_, in_64());
        i_.repeat = prefix_.repeat;
        i_.lock = prefix_.lock;
        i_.memory.segment = prefix_.segment;
        sizes();
        if (opcode_ == 0x0f) {
            opcode_ = bytes_.byte();
            row_ = opcode_map::two_byte[opcode_];
            escaped_ = true;
        } else if (opcode_ == 0xc4) {
            vex();
        } else {
            row_ = opcode_map::one_byte[opcode_];
        }
        if (bytes_.stop() == decode_status::ok)
            body();
        i_.length = static_cast<std::uint8_t>(bytes_.taken());
        i_.status = bytes_.stop() != decode_status::ok      ? bytes_.stop()
                    : i_.op == operation::unsupported       ? decode_status::unsupported
                    : i_.op == operation::undefined or bad_ ? decode_status::undefined
                                                            : decode_status::ok;
        return i_;
    }

  private:
    using slot = opcode_map::slot;
    using width = opcode_map::width;
    using group = opcode_map::group;

    [[nodiscard]] constexpr auto in_64() const -> bool { return mode_ == code_size::bits_64; }

    constexpr void sizes() {
        auto const wide = mode_ != code_size::bits_16;
        operand_ = (prefix_.rex & 8) != 0 ? 8 : wide != prefix_.operand_size ? 4 : 2;
        auto const natural = static_cast<std::uint8_t>(mode_);
        auto const other = static_cast<std::uint8_t>(mode_ == code_size::bits_32 ? 2 : 4);
        i_.address_size = prefix_.address_size ? other : natural;
    }

    [[nodiscard]] constexpr auto bytes_of(width w) const -> std::uint8_t {
        switch (w) {
        case width::byte:
            return 1;
        case width::word:
            return 2;
        case width::dword:
            return 4;
        case width::operand:
            return operand_;
        case width::port:
            return operand_ == 2 ? 2 : 4;
        case width::stack:
            return in_64() and operand_ == 4 ? 8 : operand_;
        case width::natural:
            return in_64() ? 8 : 4;
        }
        return 0;
    }

    /// The one VEX instruction that guests use on devices: BEXTR. SDM Vol. 2A, "The VEX Prefix".
    [[gnu::cold]] constexpr void vex() {
        auto const map = bytes_.byte();
        if (not in_64() and map < 0xc0)
            return; // LES
        auto const rest = bytes_.byte();
        opcode_ = bytes_.byte();
        if ((map & 0x1f) != 2 or (rest & 7) != 0 or opcode_ != 0xf7)
            return;
        bad_ = prefix_.operand_size or i_.lock or i_.repeat != repeat_prefix::none or prefix_.rex != 0;
        prefix_.rex = static_cast<std::uint8_t>(in_64() ? 0x40 | (~map >> 5 & 7) | (rest >> 4 & 8) : 0);
        operand_ = (prefix_.rex & 8) != 0 ? 8 : 4;
        vex_register_ = static_cast<std::uint8_t>(~rest >> 3 & (in_64() ? 15 : 7));
        row_ = {.op = operation::bextr, .destination = slot::reg, .source = slot::rm, .third = slot::vex_register};
    }

    [[gnu::cold]] constexpr void body() {
        i_.op = row_.op;
        auto const to_cr_or_dr = row_.op == operation::mov_control or row_.op == operation::mov_debug;
        auto const grouped = row_.select != group::none;
        if (grouped or uses_modrm(row_.destination) or uses_modrm(row_.source)) {
            modrm_ = bytes_.byte();
            register_form_ = modrm_ >= 0xc0 or to_cr_or_dr;
            if (grouped)
                select();
            if (bytes_.stop() != decode_status::ok or i_.op == operation::unsupported)
                return;
            if (not register_form_)
                address();
        }
        if (in_64() and row_.valid == opcode_map::validity::not_in_64)
            i_.op = operation::undefined;
        if (not in_64() and row_.valid == opcode_map::validity::only_in_64)
            i_.op = operation::unsupported; // ARPL
        if (i_.op == operation::undefined or i_.op == operation::unsupported)
            return;
        i_.operand_size = bytes_of(row_.size);
        i_.destination = fill(row_.destination, i_.operand_size);
        i_.source = fill(row_.source, row_.source_size == row_.size ? i_.operand_size : bytes_of(row_.source_size));
        i_.third = fill(row_.third, i_.operand_size);
        special_cases(to_cr_or_dr);
        if (i_.lock and not(is_lockable(i_.op) and i_.destination.kind == operand_kind::memory))
            bad_ = true;
    }

    /// SDM Vol. 2A, "LOCK-Assert LOCK# Signal Prefix".
    [[nodiscard]] static constexpr auto is_lockable(operation op) -> bool {
        switch (op) {
        case operation::logical_not:
        case operation::neg:
        case operation::inc:
        case operation::dec:
        case operation::xchg:
        case operation::xadd:
        case operation::cmpxchg:
        case operation::bts:
        case operation::btr:
        case operation::btc:
            return true;
        default:
            return op < operation::cmp;
        }
    }

    [[nodiscard]] static constexpr auto uses_modrm(slot s) -> bool {
        return s == slot::rm or s == slot::reg or s == slot::control_register or s == slot::debug_register;
    }

    [[gnu::cold]] constexpr void select() {
        auto const which = row_.select;
        auto const number = modrm_ >> 3 & 7;
        i_.op = opcode_map::groups[static_cast<unsigned>(which)][number];
        auto const no_prefix = not prefix_.operand_size and i_.repeat == repeat_prefix::none;
        if (which == group::g7) {
            if (register_form_)
                i_.op = opcode_map::system_instruction(modrm_);
            if (modrm_ == 0xfa and not no_prefix)
                i_.op = operation::unsupported; // MCOMMIT
            if (i_.op == operation::swapgs and not in_64())
                i_.op = operation::undefined;
            if (i_.op == operation::lmsw)
                row_.size = width::word;
            else if (register_form_ and i_.op != operation::smsw)
                row_.destination = slot::none;
        } else if (which == group::g6) {
            if (register_form_ and (i_.op == operation::sldt or i_.op == operation::str))
                row_.size = width::operand; // zero-extended; memory gets a word
        } else if (which == group::g15) {
            if (register_form_) {
                row_.destination = slot::none;
                i_.op = number >= 5 and no_prefix ? operation::fence : operation::unsupported;
            } else if (i_.repeat != repeat_prefix::none) {
                i_.op = operation::unsupported;
            }
        } else if (which == group::g3 and number <= 1) {
            row_.source = row_.size == width::byte ? slot::immediate_8 : slot::immediate;
        } else if (i_.op == operation::push) {
            row_.size = row_.source_size = width::stack;
            row_.source = slot::rm;
            row_.destination = slot::none;
        } else if ((i_.op == operation::call_far or i_.op == operation::jmp_far) and register_form_) {
            i_.op = operation::undefined;
        }
    }

    [[gnu::cold]] constexpr void special_cases(bool to_cr_or_dr) {
        auto const reg = static_cast<std::uint8_t>((modrm_ >> 3 & 7) | ((prefix_.rex & 4) << 1));
        if (to_cr_or_dr) {
            auto const cr = i_.op == operation::mov_control;
            auto& special = (opcode_ & 2) != 0 ? i_.destination : i_.source;
            if (cr and i_.lock and reg == 0) {
                special.number = 8; // how 32-bit code reaches CR8 on AMD. APM Vol. 3, "MOV CRn"
                i_.lock = false;
            }
            if (cr ? special.number == 1 or (special.number > 4 and special.number != 8) : special.number > 7)
                bad_ = true;
        } else if (opcode_ == 0x90 and not escaped_) {
            // XCHG of the accumulator with itself does nothing, not even clear the upper half.
            if (i_.repeat == repeat_prefix::while_equal)
                i_.op = operation::pause;
            else if ((prefix_.rex & 1) == 0)
                i_.op = operation::nop;
            if (i_.op != operation::xchg)
                i_.destination = i_.source = {};
        } else if (i_.op == operation::smsw and i_.destination.kind == operand_kind::memory) {
            i_.destination.size = i_.operand_size = 2;
        } else if (i_.op == operation::movsx and i_.operand_size < i_.source.size) {
            i_.source.size = i_.operand_size; // MOVSXD with 66
        }
    }

    constexpr auto general(unsigned number, std::uint8_t size) const -> operand {
        if (size == 1 and prefix_.rex == 0 and number >= 4)
            return {operand_kind::high_byte, static_cast<std::uint8_t>(number - 4), 1};
        return {operand_kind::gpr, static_cast<std::uint8_t>(number), size};
    }

    [[gnu::cold]] constexpr auto fill(slot s, std::uint8_t size) -> operand {
        auto const reg = static_cast<std::uint8_t>((modrm_ >> 3 & 7) | ((prefix_.rex & 4) << 1));
        auto const rex_b = (prefix_.rex & 1u) << 3;
        auto const immediate = [&](std::uint64_t value) {
            i_.immediate = value;
            return operand{operand_kind::immediate, 0, size};
        };
        switch (s) {
        case slot::none:
            return {};
        case slot::rm:
            return register_form_ ? general((modrm_ & 7) | rex_b, size) : in_memory(size);
        case slot::reg:
            return general(reg, size);
        case slot::accumulator:
            return {operand_kind::gpr, 0, size};
        case slot::opcode_register:
            return general((opcode_ & 7u) | rex_b, size);
        case slot::immediate_8:
            return immediate(bytes_.byte());
        case slot::signed_8:
            return immediate(static_cast<std::uint64_t>(bytes_.sign_extended(1)));
        case slot::immediate:
            return immediate(static_cast<std::uint64_t>(bytes_.sign_extended(size == 2 ? 2 : 4)));
        case slot::immediate_full:
            return immediate(bytes_.little_endian(size));
        case slot::offset:
            i_.memory.displacement = static_cast<std::int64_t>(bytes_.little_endian(i_.address_size));
            return in_memory(size);
        case slot::far_pointer: {
            auto const offset = bytes_.little_endian(size);
            return immediate(offset | bytes_.little_endian(2) << (8 * size));
        }
        case slot::dx:
            return {operand_kind::gpr, static_cast<std::uint8_t>(x86::gpr::rdx), 2};
        case slot::control_register:
            return {operand_kind::control_register, reg, size};
        case slot::debug_register:
            return {operand_kind::debug_register, reg, size};
        case slot::vex_register:
            return {operand_kind::gpr, vex_register_, size};
        }
        return {};
    }

    [[nodiscard]] static constexpr auto in_memory(std::uint8_t size) -> operand {
        return {operand_kind::memory, 0, size};
    }

    /// ModRM, SIB and displacement of a memory operand. SDM Vol. 2A, "Addressing-Mode Encoding of ModR/M and SIB".
    [[gnu::cold]] constexpr void address() {
        auto const mod = modrm_ >> 6;
        auto const rm = modrm_ & 7u;
        if (i_.address_size == 2)
            return address_16(mod, rm);
        auto& m = i_.memory;
        auto base = rm | (prefix_.rex & 1u) << 3;
        unsigned displacement{mod == 1 ? 1u : mod == 2 ? 4u : 0u};
        if (rm == 4) {
            auto const sib = bytes_.byte();
            base = (sib & 7u) | (prefix_.rex & 1u) << 3;
            auto const index = (sib >> 3 & 7u) | (prefix_.rex & 2u) << 2;
            if (index != 4) {
                m.index = static_cast<std::uint8_t>(index);
                m.scale = static_cast<std::uint8_t>(1u << (sib >> 6));
            }
            if ((sib & 7) == 5 and mod == 0) {
                base = memory_operand::no_register;
                displacement = 4;
            }
        } else if (rm == 5 and mod == 0) {
            base = memory_operand::no_register;
            displacement = 4;
            m.rip_relative = in_64();
        }
        m.base = static_cast<std::uint8_t>(base);
        m.displacement = displacement == 0 ? 0 : bytes_.sign_extended(displacement);
        if (base == 4 or base == 5)
            default_to_stack();
    }

    [[gnu::cold]] constexpr void address_16(int mod, unsigned rm) {
        using enum x86::gpr;
        constexpr auto none = static_cast<x86::gpr>(memory_operand::no_register);
        constexpr x86::gpr base[8]{rbx, rbx, rbp, rbp, rsi, rdi, rbp, rbx};
        constexpr x86::gpr index[8]{rsi, rdi, rsi, rdi, none, none, none, none};
        auto const direct = mod == 0 and rm == 6;
        i_.memory.base = static_cast<std::uint8_t>(direct ? none : base[rm]);
        i_.memory.index = static_cast<std::uint8_t>(index[rm]);
        i_.memory.displacement = mod == 1 ? bytes_.sign_extended(1) : mod == 2 or direct ? bytes_.sign_extended(2) : 0;
        if (i_.memory.base == static_cast<std::uint8_t>(rbp))
            default_to_stack();
    }

    constexpr void default_to_stack() {
        if (not prefix_.segment_overridden)
            i_.memory.segment = x86::segment_name::ss;
    }

    instruction_stream bytes_;
    code_size mode_;
    prefixes prefix_{};
    decoded i_{};
    opcode_map::row row_{};
    std::uint8_t opcode_{};
    std::uint8_t modrm_{};
    std::uint8_t vex_register_{};
    std::uint8_t operand_{};
    bool escaped_{};
    bool register_form_{};
    bool bad_{};
};

} // namespace detail

/// Decodes the instruction at the front of `bytes`. Pass what is at hand: the answer `truncated` asks for more, and
/// bytes behind the instruction are not looked at.
[[nodiscard]] constexpr auto decode(std::span<std::uint8_t const> bytes, code_size mode) -> decoded {
    return detail::instruction_reader{bytes, mode}.read();
}

} // namespace hv
