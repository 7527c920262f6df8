// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv {

inline constexpr std::int64_t seconds_per_day{86'400};

/// A date of the Gregorian calendar, also before it was in use. `year` is 0 or later.
struct calendar_date {
    std::int64_t year{};
    unsigned month{}; ///< 1-12
    unsigned day{};   ///< 1-31

    constexpr auto operator==(calendar_date const&) const -> bool = default;
};

[[nodiscard]] constexpr auto days_in_month(std::int64_t year, unsigned month) -> unsigned {
    if (month == 2)
        return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) ? 29 : 28;
    return month == 4 or month == 6 or month == 9 or month == 11 ? 30 : 31;
}

namespace detail {
// Years that start in March put the leap day last, and 400 of them have the same number of days wherever they start.
inline constexpr std::int64_t days_of_400_years{146'097};
inline constexpr std::int64_t march_0_to_1970{719'468}; ///< days from 0000-03-01 to 1970-01-01

/// Days from the first of March to the first of the month that lies `months` later.
[[nodiscard]] constexpr auto days_since_march(unsigned months) -> unsigned {
    return (153 * months + 2) / 5;
}
} // namespace detail

/// Days from 1970-01-01 to a date.
[[nodiscard]] constexpr auto days_to(calendar_date d) -> std::int64_t {
    auto const year = d.year + 400 - (d.month < 3 ? 1 : 0);
    auto const in_year = detail::days_since_march((d.month + 9) % 12) + d.day - 1;
    return 365 * year + year / 4 - year / 100 + year / 400 + in_year - detail::days_of_400_years -
           detail::march_0_to_1970;
}

/// The date that lies `days` after 1970-01-01; not before the year 0.
[[nodiscard]] constexpr auto date_after(std::int64_t days) -> calendar_date {
    auto const since = days + detail::march_0_to_1970 + detail::days_of_400_years;
    auto const in_cycle = since % detail::days_of_400_years;
    // Without the leap days that lie before it, a day is in a year of 365 days.
    auto const year = (in_cycle - in_cycle / 1460 + in_cycle / 36524 - in_cycle / 146096) / 365;
    auto const in_year = static_cast<unsigned>(in_cycle - (365 * year + year / 4 - year / 100));
    auto const months = (5 * in_year + 2) / 153;
    auto const month = months < 10 ? months + 3 : months - 9;
    return {.year = year + 400 * (since / detail::days_of_400_years - 1) + (month < 3 ? 1 : 0),
            .month = month,
            .day = in_year - detail::days_since_march(months) + 1};
}

static_assert(days_to({1970, 1, 1}) == 0 and days_to({2000, 3, 1}) == 11017 and days_to({0, 1, 1}) == -719528);
static_assert(date_after(0) == calendar_date{1970, 1, 1} and date_after(11016) == calendar_date{2000, 2, 29});

} // namespace hv
