// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

/// Tables of number ranges, sorted at compile time and searched by a tree of comparisons: no data is read and no jump
/// table can arise.
namespace hv::meta {

/// Numbers [first, end) belong to `owner`; `attribute` is the owner's business.
struct owned_range {
    std::uint64_t first{};
    std::uint64_t end{};
    std::size_t owner{};
    std::uint64_t attribute{};
};

/// The table in ascending order.
template <std::size_t Size>
[[nodiscard]] consteval auto sorted(std::array<owned_range, Size> table) -> std::array<owned_range, Size> {
    std::sort(table.begin(), table.end(), [](owned_range const& a, owned_range const& b) { return a.first < b.first; });
    return table;
}

/// Whether no range of a sorted table is empty and no two share a number.
template <std::size_t Size>
[[nodiscard]] consteval auto disjoint(std::array<owned_range, Size> const& table) -> bool {
    for (std::size_t i{0}; i != Size; ++i)
        if (table[i].first >= table[i].end or (i != 0 and table[i].first < table[i - 1].end))
            return false;
    return true;
}

/// Calls `visitor.template hit<Entry>()` for the entry of the sorted table that owns `number`, else `visitor.miss()`.
/// log2(Size) comparisons with constants.
template <auto const& Table, std::size_t Low, std::size_t High, typename Visitor>
[[gnu::always_inline]] constexpr auto search_between(std::uint64_t number, Visitor& visitor) {
    if constexpr (Low == High) {
        return visitor.miss();
    } else if constexpr (High - Low == 1) {
        if (number - Table[Low].first < Table[Low].end - Table[Low].first)
            return visitor.template hit<Low>();
        return visitor.miss();
    } else {
        constexpr std::size_t middle{Low + (High - Low) / 2};
        if (number < Table[middle].first)
            return search_between<Table, Low, middle>(number, visitor);
        return search_between<Table, middle, High>(number, visitor);
    }
}

template <auto const& Table, typename Visitor>
[[gnu::always_inline]] constexpr auto search(std::uint64_t number, Visitor& visitor) {
    return search_between<Table, 0, Table.size()>(number, visitor);
}

} // namespace hv::meta
