// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/emulate/arithmetic.hpp>
#include <hv/emulate/cpu.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace hv {

/// The first bytes of an instruction, and what stands behind it.
struct code_bytes {
    static constexpr unsigned count{16};

    std::uint64_t low{};
    std::uint64_t high{};

    /// Another processor may write them meanwhile: each is read once.
    [[nodiscard]] static auto at(std::byte const* code) -> code_bytes {
        using word [[gnu::aligned(1), gnu::may_alias]] = std::uint64_t const volatile;
        auto const* const words = static_cast<word*>(static_cast<void const*>(code));
        auto const low = words[0];
        return {low, words[1]};
    }
    /// Without the first `bytes`, which are less than 8.
    [[nodiscard]] constexpr auto behind(unsigned bytes) const -> std::uint64_t {
        return bytes == 0 ? low : low >> 8 * bytes | high << (64 - 8 * bytes);
    }
    constexpr auto operator==(code_bytes const&) const -> bool = default;
};

/// A MOV or MOVZX of 64-bit code between memory and a general register, or of an immediate to memory, with no prefix
/// but 66 and REX: nearly every access that a driver makes to its device.
struct plain_move {
    enum class form : std::uint8_t {
        none, ///< another instruction, which hv::decode takes apart
        load,
        store,
        store_immediate,
    };
    static constexpr std::uint8_t next_rip{0xfe}; ///< as a base
    static constexpr std::uint8_t nothing{0xff};  ///< as a base or index

    form kind{form::none};
    std::uint8_t length{};
    std::uint8_t bytes{};     ///< in memory
    std::uint8_t reg{};       ///< number of the register
    std::uint8_t reg_bytes{}; ///< of it that a load replaces; 4 clear the upper half
    std::uint8_t base{nothing};
    std::uint8_t index{nothing};
    std::uint8_t shift{}; ///< of the index
    std::int32_t displacement{};
    std::int32_t immediate{}; ///< sign-extended

    [[nodiscard]] constexpr auto is_store() const -> bool { return kind != form::load; }
    constexpr auto operator==(plain_move const&) const -> bool = default;
};

namespace detail {

[[nodiscard]] constexpr auto sign_extend_32(std::uint64_t value, unsigned bytes) -> std::int32_t {
    return bytes == 0 ? 0 : static_cast<std::int32_t>(arithmetic::sign_extend(value, bytes));
}

} // namespace detail

/// SDM Vol. 2A, "Instruction Format" and "Addressing-Mode Encoding of ModR/M and SIB".
[[nodiscard, gnu::cold, gnu::noinline]] constexpr auto decode_plain_move(code_bytes const& code) -> plain_move {
    using enum plain_move::form;
    unsigned taken{};
    auto const next = [&code, &taken] { return static_cast<std::uint8_t>(code.low >> 8 * taken++); };
    plain_move m{};
    auto opcode = next();
    auto const is_short = opcode == 0x66;
    if (is_short)
        opcode = next();
    std::uint8_t rex{};
    if ((opcode & 0xf0) == 0x40) {
        rex = opcode;
        opcode = next();
    }
    m.reg_bytes = m.bytes = (rex & 8) != 0 ? 8 : is_short ? 2 : 4;
    auto kind = load;
    if ((opcode & 0xfc) == 0x88) { // MOV
        if ((opcode & 1) == 0)
            m.reg_bytes = m.bytes = 1;
        if ((opcode & 2) == 0)
            kind = store;
    } else if ((opcode & 0xfe) == 0xc6) { // MOV of an immediate
        if ((opcode & 1) == 0)
            m.bytes = 1;
        kind = store_immediate;
    } else if (opcode == 0x0f) { // MOVZX
        opcode = next();
        if ((opcode & 0xfe) != 0xb6)
            return {};
        m.bytes = (opcode & 1) == 0 ? 1 : 2;
    } else {
        return {};
    }

    auto const modrm = next();
    auto const mod = modrm >> 6;
    m.reg = static_cast<std::uint8_t>((modrm >> 3 & 7) | (rex & 4) << 1);
    auto const is_high_byte = kind != store_immediate and m.reg_bytes == 1 and rex == 0 and m.reg >= 4;
    auto const is_of_group = kind == store_immediate and (modrm & 0x38) != 0;
    if (mod == 3 or is_high_byte or is_of_group) // no memory; AH, CH, DH or BH; another operation
        return {};
    unsigned displaced{mod == 0 ? 0u : mod == 1 ? 1u : 4u};
    auto const rm = modrm & 7;
    auto base = rm;
    if (rm == 4) {
        auto const sib = next();
        base = sib & 7;
        if (auto const index = (sib >> 3 & 7) | (rex & 2) << 2; index != 4) {
            m.index = static_cast<std::uint8_t>(index);
            m.shift = sib >> 6;
        }
    }
    if (base == 5 and mod == 0) {
        displaced = 4;
        m.base = rm == 5 ? plain_move::next_rip : plain_move::nothing;
    } else {
        m.base = static_cast<std::uint8_t>(base | (rex & 1) << 3);
    }

    auto const rest = code.behind(taken);
    m.displacement = detail::sign_extend_32(rest, displaced);
    taken += displaced;
    if (kind == store_immediate) {
        auto const size = m.bytes == 8 ? 4u : m.bytes;
        m.immediate = detail::sign_extend_32(rest >> 8 * displaced, size);
        taken += size;
    }
    m.length = static_cast<std::uint8_t>(taken);
    m.kind = kind;
    return m;
}

/// The plain moves that were decoded last, each known by its bytes: a driver has few, and they come again and again.
class plain_moves {
  public:
    [[nodiscard, gnu::always_inline]] auto find(std::byte const* code) -> plain_move const& {
        auto const bytes = code_bytes::at(code);
        auto& known = moves_[std::bit_cast<std::uintptr_t>(code) / 2 % moves_.size()];
        if (known.bytes != bytes) [[unlikely]]
            known = {bytes, decode_plain_move(bytes)};
        return known.move;
    }

  private:
    struct entry {
        code_bytes bytes{}; ///< zeros are ADD, which is no move
        plain_move move{};
    };
    std::array<entry, 8> moves_{};
};

/// What executes plain moves at once: a processor that remembers its code and these.
template <typename C>
concept plain_move_cpu = emulation_cpu<C> and not restartable_cpu<C> and requires(C& cpu) {
    { cpu.recent_code() } -> std::same_as<std::byte const*>;
    { cpu.recent_moves() } -> std::same_as<plain_moves&>;
};

/// Executes the instruction at RIP on a device, if it is a plain move whose access is the one that exited: `where` and
/// `wanted` are what the processor found when it had walked the guest's tables with the rights of the guest, so that
/// walk need not be done again. The access is aligned, and the instruction's own address agrees in its page offset: so
/// it lies in one page, which is that of `where`, and not in two of which one exited.
///
/// Answers the length of the instruction, which the caller retires; 0 where nothing was done.
template <plain_move_cpu Cpu>
[[nodiscard, gnu::always_inline]] inline auto execute_plain_move(Cpu& cpu, gpa where, access wanted) -> std::uint8_t {
    auto const rip = cpu.rip();
    auto const* const code = cpu.recent_code();
    if (code == nullptr or gva{rip}.page_offset() > page_size - code_bytes::count or
        (cpu.read_debug_register(7) & 0xff) != 0) [[unlikely]] // data breakpoints
        return 0;
    auto const& m = cpu.recent_moves().find(code);
    if (m.kind == plain_move::form::none or wanted != (m.is_store() ? access::write : access::read)) [[unlikely]]
        return 0;
    auto const reg = [&cpu](std::uint8_t number) { return cpu.gpr(static_cast<x86::gpr>(number)); };
    auto address = static_cast<std::uint64_t>(std::int64_t{m.displacement});
    if (m.base < x86::gpr_count) [[likely]]
        address += reg(m.base);
    else if (m.base == plain_move::next_rip)
        address += rip + m.length;
    if (m.index != plain_move::nothing)
        address += reg(m.index) << m.shift;
    if (((address ^ where.value) & (page_size - 1)) != 0 or (address & (m.bytes - 1u)) != 0) [[unlikely]]
        return 0;

    if (m.is_store()) {
        auto const value =
            m.kind == plain_move::form::store ? reg(m.reg) : static_cast<std::uint64_t>(std::int64_t{m.immediate});
        cpu.write_mmio(where, m.bytes, arithmetic::truncate(value, m.bytes));
    } else {
        auto value = arithmetic::truncate(cpu.read_mmio(where, m.bytes), m.bytes);
        if (m.reg_bytes < 4)
            value |= reg(m.reg) & ~arithmetic::truncate(~std::uint64_t{}, m.reg_bytes);
        cpu.set_gpr(static_cast<x86::gpr>(m.reg), value);
    }
    return m.length;
}

} // namespace hv
