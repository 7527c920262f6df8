// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <cstdint>

namespace hv {

/// Memory types, as MTRRs and PAT number them. SDM Vol. 3A, "Memory Types and Their Properties".
enum class memory_type : std::uint8_t { uncacheable = 0, write_back = 6 };

/// How much one entry maps; the value is its level in the tables.
enum class leaf_size : std::uint8_t { four_kib = 1, two_mib = 2, one_gib = 3 };

/// Bytes that an entry of this level covers, 1 being the lowest.
[[nodiscard]] constexpr auto level_bytes(unsigned level) -> std::uint64_t {
    return page_size << (9 * (level - 1));
}
[[nodiscard]] constexpr auto bytes_of(leaf_size size) -> std::uint64_t {
    return level_bytes(static_cast<unsigned>(size));
}

static_assert(bytes_of(leaf_size::two_mib) == 2 << 20 and bytes_of(leaf_size::one_gib) == 1 << 30);

namespace detail {
inline constexpr unsigned table_entries{512};
/// Whether an entry of this level can begin here.
[[nodiscard]] constexpr auto is_aligned(gpa where, unsigned level) -> bool {
    return (where.value & (level_bytes(level) - 1)) == 0;
}
/// Which entry of its table, on this level, an address belongs to.
[[nodiscard]] constexpr auto table_index(gpa where, unsigned level) -> std::uint64_t {
    return where.value / level_bytes(level) % table_entries;
}
} // namespace detail

/// What the nested tables say about a guest-physical address.
struct nested_leaf {
    gpa first{};           ///< where the entry begins
    std::uint64_t bytes{}; ///< what the entry covers, mapped or not
    bool present{};        ///< the rest holds only then
    hpa address{};         ///< of `first`
    access allowed{};
    memory_type type{};
    bool accessed{};
    bool dirty{};
};

} // namespace hv
