// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "page_allocator.hpp"

#include <hv/address.hpp>

#include <cstdint>

namespace hv::bare {

/// What a mapping allows, as the bits of a page-table entry. SDM Vol. 3A, "4-Level Paging and 5-Level Paging".
enum class mapping : std::uint64_t {
    none = 0,
    code = 1u << 0,                                                         ///< read and execute
    constant = std::uint64_t{1} << 63 | 1u << 0,                            ///< read
    data = std::uint64_t{1} << 63 | 1u << 1 | 1u << 0,                      ///< read and write, write-back
    device = std::uint64_t{1} << 63 | 1u << 4 | 1u << 3 | 1u << 1 | 1u << 0 ///< read and write, uncached
};

/// Four-level page tables that map addresses to themselves.
class page_tables {
  public:
    /// `gigabyte_pages`: whether the processor has them.
    page_tables(page_allocator& memory, bool gigabyte_pages)
        : memory_{memory}, largest_level_{gigabyte_pages ? 3u : 2u}, root_{new_table()} {}

    /// Those that are at `root` already, to be changed.
    page_tables(page_allocator& memory, bool gigabyte_pages, hpa root)
        : memory_{memory}, largest_level_{gigabyte_pages ? 3u : 2u},
          root_{reinterpret_cast<std::uint64_t*>(root.value)} {}

    [[nodiscard]] auto root() const -> hpa { return hpa{reinterpret_cast<std::uint64_t>(root_)}; }
    /// False if there was no memory for a table: then do not use what is there.
    [[nodiscard]] auto is_complete() const -> bool { return complete_; }

    /// Maps [first, end), both on page boundaries, with the largest pages that fit; what was there before is replaced.
    void set(std::uint64_t first, std::uint64_t end, mapping how) {
        while (complete_ and first < end) {
            auto level = largest_level_;
            while (level > 1 and (first % size_of(level) != 0 or end - first < size_of(level)))
                --level;
            set_one(first, level, how);
            first += size_of(level);
        }
    }

    /// The entry that maps `address`: 0 if nothing does.
    [[nodiscard]] auto entry_of(std::uint64_t address) const -> std::uint64_t {
        auto const* table = root_;
        for (unsigned level{4};; --level) {
            auto const entry = table[index(address, level)];
            if ((entry & present) == 0)
                return 0;
            if (level == 1 or (entry & large) != 0)
                return entry;
            table = next(entry);
        }
    }

  private:
    static constexpr std::uint64_t present{1u << 0};
    static constexpr std::uint64_t writable{1u << 1};
    static constexpr std::uint64_t large{1u << 7};
    static constexpr std::uint64_t address_bits{0x000ffffffffff000};

    /// What one entry of a table at `level` maps.
    static constexpr auto size_of(unsigned level) -> std::uint64_t { return page_size << 9 * (level - 1); }
    static constexpr auto index(std::uint64_t address, unsigned level) -> unsigned {
        return static_cast<unsigned>(address >> (page_shift + 9 * (level - 1)) & 511);
    }
    static auto next(std::uint64_t entry) -> std::uint64_t* {
        return reinterpret_cast<std::uint64_t*>(entry & address_bits);
    }

    auto new_table() -> std::uint64_t* {
        auto* const table = static_cast<std::uint64_t*>(memory_.allocate(page_size, page_size));
        complete_ = complete_ and table != nullptr;
        return table;
    }

    [[gnu::cold]] void set_one(std::uint64_t address, unsigned level, mapping how) {
        auto* table = root_;
        for (unsigned at{4}; at != level; --at) {
            auto& entry = table[index(address, at)];
            if ((entry & present) == 0 or (entry & large) != 0) {
                auto* const lower = new_table();
                if (lower == nullptr)
                    return;
                if ((entry & present) != 0) { // split: the same mapping in smaller pages
                    auto const step = size_of(at - 1);
                    auto const flags = at - 1 == 1 ? entry & ~large : entry;
                    for (unsigned n{0}; n != 512; ++n)
                        lower[n] = flags + n * step;
                }
                entry = reinterpret_cast<std::uint64_t>(lower) | writable | present;
            }
            table = next(entry);
        }
        auto const flags = static_cast<std::uint64_t>(how);
        table[index(address, level)] = how == mapping::none ? 0 : address | flags | (level > 1 ? large : 0);
    }

    page_allocator& memory_;
    unsigned largest_level_;
    bool complete_{true};
    std::uint64_t* root_;
};

} // namespace hv::bare
