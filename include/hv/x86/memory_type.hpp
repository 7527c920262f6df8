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
    for (unsigned shift{0}; shift != 64; shift += 8)
        if (auto const type = static_cast<std::uint8_t>(value >> shift);
            not is_mtrr_type(type) and type != memory_type::uncached)
            return false;
    return true;
}

inline constexpr std::uint64_t pat_at_reset{0x0007040600070406};

} // namespace hv::x86
