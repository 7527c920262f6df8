// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv::guest {

inline constexpr std::uint64_t one_mib{1u << 20};
inline constexpr std::uint64_t four_gib{1ull << 32};

/// What a range of the memory map is. ACPI specification, "Address Range Types".
enum class memory_type : std::uint32_t { ram = 1, reserved = 2, acpi_reclaimable = 3, acpi_nvs = 4 };

/// One range of the memory map, as INT 15h E820h reports it.
struct memory_range {
    std::uint64_t first{};
    std::uint64_t size{};
    memory_type type{};

    constexpr auto operator==(memory_range const&) const -> bool = default;
};

/// The memory map; `count` entries of `ranges` hold, in ascending order.
struct memory_map {
    std::array<memory_range, 4> ranges{};
    std::size_t count{};

    constexpr void add(memory_range range) {
        if (range.size != 0)
            ranges[count++] = range;
    }
    [[nodiscard]] constexpr auto begin() const { return ranges.begin(); }
    [[nodiscard]] constexpr auto end() const { return ranges.begin() + count; }
};

/// Where a guest's memory lies: up to `low_limit` from address 0 on, the rest from 4 GiB on. The hole between is for
/// devices. 0xa0000-0xfffff is memory too, so that VGA text output and firmware tables have a place, but the guest is
/// told that it is reserved.
struct memory_layout {
    static constexpr std::uint64_t low_limit{3ull << 30};
    static constexpr std::uint64_t reserved_first{0xa0000};
    static constexpr std::uint64_t acpi_first{0xe0000}; ///< tables lie in the BIOS area, which guests search
    static constexpr std::uint64_t mp_first{0xf0000};   ///< the part of it in which they look for MP tables
    static constexpr std::uint64_t reserved_end{one_mib};

    std::uint64_t size{};

    [[nodiscard]] constexpr auto below_4g() const -> std::uint64_t { return size < low_limit ? size : low_limit; }
    [[nodiscard]] constexpr auto above_4g() const -> std::uint64_t { return size - below_4g(); }

    /// Whether [first, first + count) is memory. The hole splits; a range across it is not.
    [[nodiscard]] constexpr auto contains(std::uint64_t first, std::uint64_t count) const -> bool {
        auto const inside = [=](std::uint64_t base, std::uint64_t length) {
            return first >= base and first - base <= length and count <= length - (first - base);
        };
        return inside(0, below_4g()) or inside(four_gib, above_4g());
    }

    /// What the guest is told.
    [[nodiscard]] constexpr auto map() const -> memory_map {
        auto const low = below_4g();
        auto const clip = [low](std::uint64_t first, std::uint64_t end) {
            auto const stop = end < low ? end : low;
            return stop > first ? stop - first : 0;
        };
        memory_map result{};
        result.add({0, clip(0, reserved_first), memory_type::ram});
        result.add({reserved_first, clip(reserved_first, reserved_end), memory_type::reserved});
        result.add({reserved_end, clip(reserved_end, low), memory_type::ram});
        result.add({four_gib, above_4g(), memory_type::ram});
        return result;
    }
};

} // namespace hv::guest
