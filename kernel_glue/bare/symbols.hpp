// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace hv::bare {

/// One function of the image: where it starts, and where its name does among the names. cmake/hv_symbols.awk writes
/// the table, sorted by address; sizes are not kept.
struct symbol_entry {
    std::uint32_t address{};
    std::uint32_t name{};
};

/// Where an address lies: `name` + `offset`. The name is empty if no function starts at or below the address.
struct symbol_place {
    std::string_view name{};
    std::uint64_t offset{};
};

/// Looks an address up in a sorted table.
[[nodiscard]] constexpr auto find_symbol(std::span<symbol_entry const> entries, std::string_view names,
                                         std::uint64_t address) -> symbol_place {
    std::size_t first{0};
    std::size_t count{entries.size()};
    while (count != 0) { // the first entry above the address
        auto const half = count / 2;
        if (entries[first + half].address <= address) {
            first += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    if (first == 0)
        return {};
    auto const& entry = entries[first - 1];
    if (entry.name >= names.size())
        return {};
    names.remove_prefix(entry.name);
    return {{names.data(), names.find('\0') < names.size() ? names.find('\0') : names.size()}, address - entry.address};
}

/// Where `address` lies in this image; nowhere for everything that is not its code.
[[nodiscard]] auto symbol_of(std::uint64_t address) -> symbol_place;

} // namespace hv::bare
