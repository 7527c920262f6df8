// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/control_registers.hpp>

#include <cstdint>

/// Arithmetic on 1, 2, 4 or 8 bytes with the status flags that it leaves. SDM Vol. 1, "EFLAGS Register".
namespace hv::arithmetic {

inline constexpr std::uint64_t status_flags{x86::rflags::cf | x86::rflags::pf | x86::rflags::af | x86::rflags::zf |
                                            x86::rflags::sf | x86::rflags::of};

struct result {
    std::uint64_t value{};
    std::uint64_t flags{}; ///< status flags only
};

[[nodiscard]] constexpr auto truncate(std::uint64_t value, unsigned size) -> std::uint64_t {
    return size >= 8 ? value : value & ((1ull << (8 * size)) - 1);
}

[[nodiscard]] constexpr auto sign_bit(unsigned size) -> std::uint64_t {
    return 1ull << (8 * size - 1);
}

[[nodiscard]] constexpr auto sign_extend(std::uint64_t value, unsigned size) -> std::int64_t {
    auto const unused = 64 - 8 * size;
    return static_cast<std::int64_t>(value << unused) >> unused;
}

/// Not std::popcount: without the instruction GCC makes it a call of its library.
[[nodiscard]] constexpr auto has_even_parity(std::uint8_t byte) -> bool {
    auto const folded = byte ^ byte >> 4;
    return (0x6996 >> (folded & 0xf) & 1) == 0;
}

/// SF, ZF and PF of a result. PF looks at the low byte only.
[[nodiscard]] constexpr auto flags_of(std::uint64_t value, unsigned size) -> std::uint64_t {
    std::uint64_t flags{};
    if ((value & sign_bit(size)) != 0)
        flags |= x86::rflags::sf;
    if (truncate(value, size) == 0)
        flags |= x86::rflags::zf;
    if (has_even_parity(static_cast<std::uint8_t>(value)))
        flags |= x86::rflags::pf;
    return flags;
}

[[nodiscard]] constexpr auto logic(std::uint64_t value, unsigned size) -> result {
    value = truncate(value, size);
    return {value, flags_of(value, size)};
}

[[nodiscard]] constexpr auto add(std::uint64_t a, std::uint64_t b, bool carry, unsigned size) -> result {
    a = truncate(a, size);
    b = truncate(b, size);
    auto const sum = truncate(a + b + carry, size);
    auto flags = flags_of(sum, size);
    if (sum < a or (carry and sum == a))
        flags |= x86::rflags::cf;
    if (((a ^ b ^ sum) & 0x10) != 0)
        flags |= x86::rflags::af;
    if (((a ^ sum) & (b ^ sum) & sign_bit(size)) != 0)
        flags |= x86::rflags::of;
    return {sum, flags};
}

[[nodiscard]] constexpr auto subtract(std::uint64_t a, std::uint64_t b, bool borrow, unsigned size) -> result {
    a = truncate(a, size);
    b = truncate(b, size);
    auto const difference = truncate(a - b - borrow, size);
    auto flags = flags_of(difference, size);
    if (a < b or (borrow and a == b))
        flags |= x86::rflags::cf;
    if (((a ^ b ^ difference) & 0x10) != 0)
        flags |= x86::rflags::af;
    if (((a ^ b) & (a ^ difference) & sign_bit(size)) != 0)
        flags |= x86::rflags::of;
    return {difference, flags};
}

/// INC and DEC: as ADD or SUB of one, but CF stays out of it.
[[nodiscard]] constexpr auto increment(std::uint64_t a, unsigned size) -> result {
    auto r = add(a, 1, false, size);
    r.flags &= ~x86::rflags::cf;
    return r;
}
[[nodiscard]] constexpr auto decrement(std::uint64_t a, unsigned size) -> result {
    auto r = subtract(a, 1, false, size);
    r.flags &= ~x86::rflags::cf;
    return r;
}

/// The signed product; CF and OF say that it did not fit.
[[nodiscard]] constexpr auto multiply(std::uint64_t a, std::uint64_t b, unsigned size) -> result {
    std::int64_t product{};
    auto const lost = __builtin_mul_overflow(sign_extend(a, size), sign_extend(b, size), &product);
    auto const value = truncate(static_cast<std::uint64_t>(product), size);
    auto flags = flags_of(value, size);
    if (lost or sign_extend(value, size) != product)
        flags |= x86::rflags::cf | x86::rflags::of;
    return {value, flags};
}

/// `length` bits of `value` from bit `start` on, as BEXTR packs them in its control operand.
[[nodiscard]] constexpr auto extract_bits(std::uint64_t value, std::uint64_t control, unsigned size) -> result {
    auto const start = control & 0xff;
    auto const length = control >> 8 & 0xff;
    auto bits = start < 8 * size ? truncate(value, size) >> start : 0;
    if (length < 64)
        bits &= (1ull << length) - 1;
    return {bits, bits == 0 ? x86::rflags::zf : 0};
}

} // namespace hv::arithmetic
