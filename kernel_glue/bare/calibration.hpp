// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "instructions.hpp"
#include "reference_clock.hpp"

#include <cstdint>

namespace hv::bare {

/// Readings of the time-stamp counter, a reference and a third counter at one moment.
struct clock_sample {
    std::uint64_t tsc{};
    std::uint32_t reference{};
    std::uint32_t other{};
};

/// Takes the best of several readings: the one that took the shortest time by the TSC. An emulator's thread may be
/// suspended between any two instructions.
auto sample_clocks(reference_clock const& reference, auto&& read_other) -> clock_sample {
    clock_sample best{};
    std::uint64_t shortest{UINT64_MAX};
    for (int i{0}; i != 8; ++i) {
        auto const before = read_tsc();
        auto const r = reference.read();
        auto const other = std::uint32_t{read_other()};
        auto const took = read_tsc() - before;
        if (took < shortest) {
            shortest = took;
            best = {before + took / 2, r, other};
        }
    }
    return best;
}

/// Spins until the reference has counted `ticks` since `from`.
inline void wait_ticks(reference_clock const& reference, std::uint32_t from, std::uint32_t ticks) {
    while (reference.between(from, reference.read()) < ticks)
        asm volatile("pause");
}

/// What counts `ticks` while the reference counts `reference_ticks`, in Hz.
[[nodiscard]] constexpr auto frequency_of(std::uint64_t ticks, std::uint32_t reference_ticks,
                                          std::uint32_t reference_frequency) -> std::uint64_t {
    return reference_ticks == 0 ? 0 : ticks * reference_frequency / reference_ticks;
}

} // namespace hv::bare
