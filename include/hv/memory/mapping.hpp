// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/memory/gpa_range.hpp>

#include <cstdint>

namespace hv {

/// When the nested tables learn about a mapping.
enum class fill : std::uint8_t {
    eager,    ///< when it is made, with the largest entries
    on_fault, ///< when the guest first touches it, by 4 KiB, or 2 MiB where the memory allows
};

/// What became of a guest access that the nested tables did not allow.
enum class fault_outcome : std::uint8_t {
    mapped,        ///< let the guest try again
    not_memory,    ///< a device, or nothing
    no_permission, ///< memory, but not for this: a write to ROM
    out_of_memory, ///< the host has no page for a table
};

/// Flags of `map`. The numbers are those of the reference interface.
inline constexpr std::uint32_t map_wired{1}; ///< fill the tables at once, whatever the policy

/// A stretch of a segment at a guest-physical address.
struct memory_mapping : gpa_range {
    unsigned segment{};
    std::uint64_t offset{};
    access allowed{};
    std::uint32_t flags{};
};

/// What to do with dirty flags. The numbers are those of the reference interface.
enum class dirty_operation : std::uint8_t { reset = 1, set = 2, get = 3 };

} // namespace hv
