// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/status.hpp>

#include <cstdint>
#include <string_view>

/// The TSC of a guest that keeps its own frequency: a fixed-point ratio to the host's, and the same product as the
/// processor makes of it.
namespace hv {

/// What a backend's processors may have to scale a guest's TSC: the feature by its manual's name, and how wide the
/// parts of the ratio are.
struct tsc_scaling {
    std::string_view feature{};
    std::uint8_t integer_bits{}, fraction_bits{};
};

/// The ratio of two frequencies in Hz, rounded down, as the processor wants it. invalid_argument for a frequency of 0
/// or above 2^40 Hz; out_of_range if the ratio does not fit or is 0.
[[nodiscard]] constexpr auto frequency_ratio(std::uint64_t guest, std::uint64_t host, tsc_scaling const& format)
    -> result<std::uint64_t> {
    constexpr std::uint64_t too_fast{std::uint64_t{1} << 40};
    if (guest == 0 or host == 0 or guest > too_fast or host > too_fast)
        return status::invalid_argument;
    auto ratio = guest / host;
    if (ratio >> format.integer_bits != 0)
        return status::out_of_range;
    auto rest = guest % host;
    for (unsigned bit{0}; bit != format.fraction_bits; ++bit) { // no division of 128 bits in a freestanding program
        rest <<= 1;
        ratio = ratio << 1 | (rest >= host ? 1 : 0);
        rest -= rest >= host ? host : 0;
    }
    if (ratio == 0)
        return status::out_of_range;
    return ratio;
}

/// What a guest without an offset reads while the host's counter stands at `tsc`. SDM Vol. 3C, "Guest Timestamp-Counter
/// Scaling"; APM Vol. 2, "TSC Ratio MSR".
[[nodiscard]] constexpr auto scaled_tsc(std::uint64_t tsc, std::uint64_t ratio, tsc_scaling const& format)
    -> std::uint64_t {
    __extension__ using wide = unsigned __int128;
    return static_cast<std::uint64_t>(static_cast<wide>(tsc) * ratio >> format.fraction_bits);
}

/// The same of the difference of two readings, modulo 2^64.
[[nodiscard]] constexpr auto scaled_difference(std::int64_t ticks, std::uint64_t ratio, tsc_scaling const& format)
    -> std::uint64_t {
    auto const plain = static_cast<std::uint64_t>(ticks);
    return ticks < 0 ? 0 - scaled_tsc(0 - plain, ratio, format) : scaled_tsc(plain, ratio, format);
}

} // namespace hv
