// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <cstdint>

namespace hv {

/// A stretch of guest-physical addresses; none if it has no bytes.
struct gpa_range {
    gpa first{};
    std::uint64_t bytes{};

    [[nodiscard]] constexpr auto contains(gpa address) const -> bool { return address.value - first.value < bytes; }
    /// Neither range wraps.
    [[nodiscard]] constexpr auto overlaps(gpa_range other) const -> bool {
        return first.value < other.first.value + other.bytes and other.first.value < first.value + bytes;
    }
    constexpr auto operator==(gpa_range const&) const -> bool = default;
};

} // namespace hv
