// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace hv {

/// A set of interrupt vectors in the layout of the local APIC's IRR, ISR and TMR.
struct vector_set {
    std::array<std::uint32_t, 8> words{};

    [[nodiscard]] constexpr auto contains(std::uint8_t vector) const -> bool {
        return (words[vector / 32] & bit(vector)) != 0;
    }
    constexpr void insert(std::uint8_t vector) { words[vector / 32] |= bit(vector); }
    constexpr void erase(std::uint8_t vector) { words[vector / 32] &= ~bit(vector); }

    [[nodiscard]] constexpr auto is_empty() const -> bool { return (pair(1) | pair(3) | pair(5) | pair(7)) == 0; }

    /// The highest vector, 0 if there is none: vector 0 is not legal, so that 0 compares below every member.
    [[nodiscard, gnu::always_inline]] constexpr auto highest() const -> std::uint8_t {
        return is_empty() ? std::uint8_t{0} : highest_member(); // mostly empty: asked when one was taken out
    }

    /// Whether no vector below 16 is a member.
    [[nodiscard]] constexpr auto is_legal() const -> bool { return (words[0] & 0xffff) == 0; }

    /// Whether no two members share a priority class (their upper four bits).
    [[nodiscard]] constexpr auto has_one_of_each_class() const -> bool {
        constexpr auto has_several = [](std::uint32_t bits) { return (bits & (bits - 1)) != 0; };
        for (auto const word : words)
            if (has_several(word & 0xffff) or has_several(word >> 16))
                return false;
        return true;
    }

    constexpr auto operator==(vector_set const&) const -> bool = default;

  private:
    [[nodiscard]] constexpr auto highest_member() const -> std::uint8_t {
        for (unsigned i{8}; i != 0; i -= 2)
            if (auto const two = pair(i - 1); two != 0)
                return static_cast<std::uint8_t>(i * 32 - 1 - static_cast<unsigned>(std::countl_zero(two)));
        return 0;
    }

    /// A word and the one below it.
    [[nodiscard]] constexpr auto pair(unsigned upper) const -> std::uint64_t {
        return std::uint64_t{words[upper]} << 32 | words[upper - 1];
    }
    [[nodiscard]] static constexpr auto bit(std::uint8_t vector) -> std::uint32_t {
        return std::uint32_t{1} << (vector & 31);
    }
};

} // namespace hv
