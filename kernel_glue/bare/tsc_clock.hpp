// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "instructions.hpp"

#include <hv/time.hpp>

#include <cstdint>

namespace hv::bare {

/// A ratio of two frequencies as a fixed-point number: one multiplication a conversion, no division.
struct rate {
    static constexpr int fraction_bits{56}; // ratios up to 255; in a month not one unit is lost

    std::uint64_t scaled{};

    /// Units of `to` Hz in one of `from` Hz.
    [[nodiscard]] static constexpr auto of(std::uint64_t to, std::uint64_t from) -> rate {
        // (to << 56) / from without a 128-bit division, which would be a call into a library that is not there.
        auto const whole = to / from;
        auto rest = to % from;
        std::uint64_t fraction{0};
        for (int bit{fraction_bits - 1}; bit >= 0; --bit) {
            rest <<= 1; // from is a frequency, far below 2^63
            if (rest >= from) {
                rest -= from;
                fraction |= std::uint64_t{1} << bit;
            }
        }
        return {whole << fraction_bits | fraction};
    }
    [[nodiscard]] constexpr auto operator()(std::uint64_t n) const -> std::uint64_t {
        __extension__ using wide = unsigned __int128;
        return static_cast<std::uint64_t>(static_cast<wide>(n) * scaled >> fraction_bits);
    }
};
static_assert(rate::of(nanoseconds_per_second, 2'000'000'000)(2'000'000'000) == 1'000'000'000);
static_assert(rate::of(3, 2)(10) == 15);

/// Nanoseconds by the time-stamp counter, from its reading at `start`.
class tsc_clock {
  public:
    constexpr tsc_clock() = default;
    tsc_clock(std::uint64_t frequency, std::uint64_t start)
        : frequency_{frequency}, start_{start}, to_nanoseconds_{rate::of(nanoseconds_per_second, frequency)},
          to_ticks_{rate::of(frequency, nanoseconds_per_second)} {}

    [[nodiscard]] constexpr auto frequency() const -> std::uint64_t { return frequency_; }
    [[nodiscard]] auto now() const -> nanoseconds { return at(read_tsc()); }
    [[nodiscard]] constexpr auto at(std::uint64_t tsc) const -> nanoseconds {
        return static_cast<nanoseconds>(to_nanoseconds_(tsc - start_));
    }
    /// A reading of the counter at or within two ticks after an instant of `now`.
    [[nodiscard]] constexpr auto tsc_at(nanoseconds when) const -> std::uint64_t {
        return when <= 0 ? start_ : start_ + to_ticks_(static_cast<std::uint64_t>(when)) + 2;
    }

  private:
    std::uint64_t frequency_{0};
    std::uint64_t start_{0};
    rate to_nanoseconds_{};
    rate to_ticks_{};
};

} // namespace hv::bare
