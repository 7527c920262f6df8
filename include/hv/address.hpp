// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <compare>
#include <cstdint>

namespace hv {

inline constexpr std::uint64_t page_size{4096};
inline constexpr unsigned page_shift{12};

/// An address that cannot be mistaken for one of another kind.
template <typename Kind>
struct address {
    std::uint64_t value{};

    constexpr address() = default;
    constexpr explicit address(std::uint64_t v) : value{v} {}
    [[nodiscard]] constexpr auto page() const -> address { return address{value & ~(page_size - 1)}; }
    [[nodiscard]] constexpr auto page_offset() const -> std::uint64_t { return value & (page_size - 1); }
    [[nodiscard]] constexpr auto operator+(std::uint64_t n) const -> address { return address{value + n}; }
    [[nodiscard]] constexpr auto operator-(address other) const -> std::uint64_t { return value - other.value; }
    constexpr auto operator<=>(address const&) const = default;
};

/// Guest-physical address.
using gpa = address<struct gpa_kind>;
/// Guest-virtual address: linear, after segmentation. SDM Vol. 3A, "Linear-Address Space".
using gva = address<struct gva_kind>;
/// Host-physical address.
using hpa = address<struct hpa_kind>;

/// What an access does to memory; the values combine.
enum class access : std::uint8_t { none = 0, read = 1, write = 2, execute = 4 };

[[nodiscard]] constexpr auto operator|(access a, access b) -> access {
    return static_cast<access>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
[[nodiscard]] constexpr auto includes(access set, access one) -> bool {
    return (static_cast<std::uint8_t>(set) & static_cast<std::uint8_t>(one)) == static_cast<std::uint8_t>(one);
}

} // namespace hv
