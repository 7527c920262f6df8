// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// Memory types as PAT and the MTRRs encode them. SDM Vol. 3A, "Memory Cache Control".
namespace hv::x86 {

namespace memory_type {
inline constexpr std::uint8_t uncacheable{0};
inline constexpr std::uint8_t write_combining{1};
inline constexpr std::uint8_t write_through{4};
inline constexpr std::uint8_t write_protected{5};
inline constexpr std::uint8_t write_back{6};
inline constexpr std::uint8_t uncached{7}; ///< UC-, in PAT only
} // namespace memory_type

/// Whether a byte of an MTRR names a type that MTRRs have.
[[nodiscard]] constexpr auto is_mtrr_type(std::uint8_t type) -> bool {
    return type <= 6 and type != 2 and type != 3;
}

/// Whether IA32_PAT may hold this value: every byte a defined type.
[[nodiscard]] constexpr auto is_valid_pat(std::uint64_t value) -> bool {
    constexpr std::uint64_t in_each_byte{0x0101'0101'0101'0101};
    auto const two_or_three = value >> 1 & ~(value >> 2) & in_each_byte; // the types below 8 that are none
    return (value & 0xf8 * in_each_byte) == 0 and two_or_three == 0;
}

inline constexpr std::uint64_t pat_at_reset{0x0007040600070406};

static_assert([] {
    for (unsigned shift{0}; shift != 64; shift += 8)
        for (unsigned type{0}; type != 0x100; ++type) {
            bool const defined{is_mtrr_type(static_cast<std::uint8_t>(type)) or type == memory_type::uncached};
            if (is_valid_pat((pat_at_reset & ~(0xffull << shift)) | std::uint64_t{type} << shift) != defined)
                return false;
        }
    return true;
}());

} // namespace hv::x86
