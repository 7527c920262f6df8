// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "instructions.hpp"

#include <cstdint>

namespace hv::bare {

/// Date and time as an MC146818 holds them, and the two bits that say how.
struct cmos_time {
    std::uint8_t second{}, minute{}, hour{}, day{}, month{}, year{};
    bool binary{};
    bool twenty_four_hours{};

    constexpr auto operator==(cmos_time const&) const -> bool = default;
};

/// Seconds from 1970-01-01T00:00 to a time of the years 1970 to 2069. The century register is no standard.
[[nodiscard, gnu::cold]] constexpr auto seconds_since_1970(cmos_time const& t) -> std::int64_t {
    auto const number = [&](unsigned v) { return t.binary ? v : (v >> 4) * 10 + (v & 15); };
    auto hour = number(t.hour & 0x7fu);
    if (not t.twenty_four_hours) // bit 7: afternoon; 12 is the first hour of both halves
        hour = hour % 12 + ((t.hour & 0x80u) != 0 ? 12 : 0);
    std::int64_t const two_digits{number(t.year)};
    auto const month = number(t.month);
    // Days by counting years from March, so that the leap day is the last one.
    auto const year = (two_digits < 70 ? 2000 : 1900) + two_digits - (month <= 2 ? 1 : 0);
    std::int64_t const months{(month + 9) % 12};
    auto const days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * months + 2) / 5 + number(t.day) - 1;
    constexpr std::int64_t days_to_1970{719468}; // from 0000-03-01
    return ((days - days_to_1970) * 24 + hour) * 3600 + number(t.minute) * 60 + number(t.second);
}
static_assert(seconds_since_1970({.day = 1, .month = 1, .year = 0x70, .twenty_four_hours = true}) == 0);

/// Reads the battery-backed clock of the board. Two equal readings outside an update are one time.
[[gnu::cold]] inline auto read_cmos_clock() -> cmos_time {
    constexpr std::uint8_t update_in_progress{0x80};
    auto const at = [](std::uint8_t index) {
        out8(0x70, index);
        return in8(0x71);
    };
    auto const read = [&]() -> cmos_time {
        auto const format = at(0x0b);
        return {.second = at(0),
                .minute = at(2),
                .hour = at(4),
                .day = at(7),
                .month = at(8),
                .year = at(9),
                .binary = (format & 4) != 0,
                .twenty_four_hours = (format & 2) != 0};
    };
    auto time = read();
    for (int tries{0}; tries != 100'000; ++tries) { // a second of updates; a board without a clock reads as ones
        if ((at(0x0a) & update_in_progress) != 0)
            continue;
        auto const again = read();
        if (again == time)
            break;
        time = again;
    }
    return time;
}

} // namespace hv::bare
