// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// Paging-structure entries: the bits that all formats share, and the widths of each paging mode.
/// SDM Vol. 3A, "Paging"; APM Vol. 2, "Page Translation and Protection".
namespace hv::x86::paging {

inline constexpr std::uint64_t present{1u << 0};
inline constexpr std::uint64_t writable{1u << 1};
inline constexpr std::uint64_t user{1u << 2};
inline constexpr std::uint64_t write_through{1u << 3};
inline constexpr std::uint64_t cache_disable{1u << 4};
inline constexpr std::uint64_t accessed{1u << 5};
inline constexpr std::uint64_t dirty{1u << 6};     ///< leaves only
inline constexpr std::uint64_t page_size{1u << 7}; ///< PS: this entry maps a page; PAT in the lowest level
inline constexpr std::uint64_t global{1u << 8};
inline constexpr std::uint64_t large_page_attribute{1u << 12}; ///< PAT of a leaf above the lowest level
inline constexpr std::uint64_t execute_disable{1ull << 63};    ///< XD, NX: reserved while EFER.NXE is clear

/// Bits last to first, as the manuals write a range.
[[nodiscard]] constexpr auto bits(unsigned last, unsigned first) -> std::uint64_t {
    return first > last ? 0 : (~0ull >> (63 - last)) & (~0ull << first);
}

/// No entry holds more physical-address bits than these, whatever MAXPHYADDR says.
inline constexpr unsigned physical_address_limit{52};

/// Bits of an entry or of CR3 that hold the address of a 4 KiB page on a processor with this MAXPHYADDR.
[[nodiscard]] constexpr auto frame(unsigned physical_bits) -> std::uint64_t {
    return physical_bits <= 12
               ? 0
               : bits((physical_bits < physical_address_limit ? physical_bits : physical_address_limit) - 1, 12);
}

static_assert(bits(20, 13) == 0x1fe000 and bits(63, 63) == execute_disable and bits(63, 0) == ~0ull and
              bits(3, 4) == 0);
static_assert(frame(52) == 0x000f'ffff'ffff'f000 and frame(36) == 0xf'ffff'f000);

} // namespace hv::x86::paging
