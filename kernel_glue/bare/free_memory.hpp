// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"

#include <hv/address.hpp>

#include <cstdint>

namespace hv::bare {

[[nodiscard]] constexpr auto page_down(std::uint64_t address) -> std::uint64_t {
    return address & ~(page_size - 1);
}
[[nodiscard]] constexpr auto page_up(std::uint64_t address) -> std::uint64_t {
    return page_down(address + page_size - 1);
}

/// A half-open range of physical addresses.
struct address_range {
    std::uint64_t first{};
    std::uint64_t end{};
};

/// Calls `give(start, stop)` for all memory within `limits` that is usable and that neither the image nor a module
/// lies in, in whole pages. Maps may overlap: a stretch that another entry calls something else is not free, and one
/// that is listed twice is given once.
constexpr void for_each_free_extent(boot_information const& boot, address_range image, address_range limits,
                                    auto&& give) {
    for (auto const& e : boot.memory()) {
        if (e.kind != memory_kind::usable)
            continue;
        auto from = page_up(e.start.value) < limits.first ? limits.first : page_up(e.start.value);
        auto const to = page_down(e.end().value) < limits.end ? page_down(e.end().value) : limits.end;
        while (from < to) {
            // Up to the lowest of what is in use, then on behind it.
            address_range used{to, to};
            auto const consider = [&](std::uint64_t start, std::uint64_t stop) {
                if (start < used.first and from < stop)
                    used = {start, stop};
            };
            consider(page_down(image.first), page_up(image.end));
            for (auto const& m : boot.modules())
                consider(page_down(m.start.value), page_up(m.end().value));
            for (auto const& other : boot.memory())
                if (other.kind != memory_kind::usable or &other < &e)
                    consider(page_down(other.start.value), page_up(other.end().value));
            if (from < used.first)
                give(from, used.first);
            from = used.end;
        }
    }
}

} // namespace hv::bare
