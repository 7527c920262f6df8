// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <compare>
#include <cstdint>

namespace hv {

/// A length of time in nanoseconds.
using nanoseconds = std::int64_t;

inline constexpr nanoseconds nanoseconds_per_second{1'000'000'000};

/// A point on a virtual machine's own clock: nanoseconds since the machine was created. The host's monotonic clock
/// drives it; only the vm knows where its zero lies, so a saved instant means the same on another host.
struct instant {
    nanoseconds since_creation{};

    constexpr auto operator<=>(instant const&) const = default;
    [[nodiscard]] constexpr auto operator+(nanoseconds d) const -> instant { return {since_creation + d}; }
    [[nodiscard]] constexpr auto operator-(nanoseconds d) const -> instant { return {since_creation - d}; }
    [[nodiscard]] constexpr auto operator-(instant other) const -> nanoseconds {
        return since_creation - other.since_creation;
    }
};

/// The deadline of a timer that is not armed.
inline constexpr instant never{INT64_MAX};

/// Whole ticks of a `frequency` Hz clock in `d` nanoseconds, rounded down. Exact for every non-negative d.
[[nodiscard]] constexpr auto ticks_in(nanoseconds d, std::uint64_t frequency) -> std::uint64_t {
    auto const seconds = static_cast<std::uint64_t>(d / nanoseconds_per_second);
    auto const rest = static_cast<std::uint64_t>(d % nanoseconds_per_second);
    return seconds * frequency + rest * frequency / nanoseconds_per_second;
}

/// Nanoseconds until `ticks` of a `frequency` Hz clock have passed, rounded up: a timer never fires early.
[[nodiscard]] constexpr auto time_for(std::uint64_t ticks, std::uint64_t frequency) -> nanoseconds {
    auto const seconds = ticks / frequency;
    auto const rest = ticks % frequency;
    return static_cast<nanoseconds>(seconds * nanoseconds_per_second +
                                    (rest * nanoseconds_per_second + frequency - 1) / frequency);
}

static_assert(ticks_in(time_for(1193, 1193182), 1193182) == 1193);

} // namespace hv
