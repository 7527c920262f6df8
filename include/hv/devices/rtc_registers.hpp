// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/calendar.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstdint>

/// The 128 bytes behind an MC146818's index, and what they mean as a time. MC146818A datasheet, "Address Map",
/// "Time, Calendar, and Alarm Locations" and "Register A" to "Register D".
namespace hv::rtc_registers {

inline constexpr unsigned seconds{0x00};
inline constexpr unsigned seconds_alarm{0x01};
inline constexpr unsigned minutes{0x02};
inline constexpr unsigned minutes_alarm{0x03};
inline constexpr unsigned hours{0x04};
inline constexpr unsigned hours_alarm{0x05};
inline constexpr unsigned day_of_week{0x06};
inline constexpr unsigned day_of_month{0x07};
inline constexpr unsigned month{0x08};
inline constexpr unsigned year{0x09};
inline constexpr unsigned a{0x0a};
inline constexpr unsigned b{0x0b};
inline constexpr unsigned c{0x0c};
inline constexpr unsigned d{0x0d};
inline constexpr unsigned century{0x32}; ///< where PCs keep it

// Register A.
inline constexpr std::uint8_t update_in_progress{0x80};
inline constexpr std::uint8_t divider{0x70};
inline constexpr std::uint8_t divider_32768_hz{0x20}; ///< the only one that fits the crystal of a PC
inline constexpr std::uint8_t rate{0x0f};
// Register B; the interrupt enables have the places of register C's flags.
inline constexpr std::uint8_t set{0x80};
inline constexpr std::uint8_t square_wave{0x08};
inline constexpr std::uint8_t binary{0x04};
inline constexpr std::uint8_t hours_24{0x02};
// Register C.
inline constexpr std::uint8_t interrupt_request{0x80};
inline constexpr std::uint8_t periodic{0x40};
inline constexpr std::uint8_t alarm{0x20};
inline constexpr std::uint8_t update_ended{0x10};
inline constexpr std::uint8_t all_flags{periodic | alarm | update_ended};
// Register D.
inline constexpr std::uint8_t valid_ram_and_time{0x80};

using bytes = std::array<std::uint8_t, 128>;

/// The frequency of the periodic interrupt in Hz, 0 for none.
[[nodiscard]] constexpr auto periodic_frequency(std::uint8_t register_a) -> std::uint64_t {
    auto const select = register_a & rate;
    if (select == 0)
        return 0;
    return std::uint64_t{32768} >> (select < 3 ? select + 6 : select - 1);
}

[[nodiscard]] constexpr auto encode(std::uint8_t register_b, unsigned value) -> std::uint8_t {
    return static_cast<std::uint8_t>((register_b & binary) != 0 ? value : value / 10 << 4 | value % 10);
}
[[nodiscard]] constexpr auto encode_hour(std::uint8_t register_b, unsigned hour) -> std::uint8_t {
    if ((register_b & hours_24) != 0)
        return encode(register_b, hour);
    auto const afternoon = hour >= 12 ? 0x80 : 0;
    return static_cast<std::uint8_t>(encode(register_b, hour % 12 == 0 ? 12 : hour % 12) | afternoon);
}

/// 255 if the byte is not a number.
[[nodiscard]] constexpr auto decode(std::uint8_t register_b, std::uint8_t raw) -> unsigned {
    if ((register_b & binary) != 0)
        return raw;
    return (raw & 15) > 9 or raw >> 4 > 9 ? 255u : (raw >> 4) * 10u + (raw & 15u);
}
[[nodiscard]] constexpr auto decode_hour(std::uint8_t register_b, std::uint8_t raw) -> unsigned {
    if ((register_b & hours_24) != 0)
        return decode(register_b, raw);
    auto const hour = decode(register_b, raw & 0x7f);
    if (hour < 1 or hour > 12)
        return 255;
    return hour % 12 + ((raw & 0x80) != 0 ? 12 : 0);
}

/// Seconds since 1970-01-01T00:00 of the time that the registers show; invalid_argument if they show none.
[[nodiscard, gnu::cold]] constexpr auto time_of(bytes const& r) -> result<std::int64_t> {
    auto const mode = r[b];
    auto const s = decode(mode, r[seconds] & 0x7f);
    auto const min = decode(mode, r[minutes]);
    auto const h = decode_hour(mode, r[hours]);
    auto const in_century = decode(mode, r[year]);
    auto const centuries = decode(mode, r[century]);
    calendar_date const date{.year = std::int64_t{centuries} * 100 + in_century,
                             .month = decode(mode, r[month]),
                             .day = decode(mode, r[day_of_month])};
    if (s > 59 or min > 59 or h > 23 or in_century > 99 or centuries > 99 or date.month < 1 or date.month > 12 or
        date.day < 1 or date.day > days_in_month(date.year, date.month))
        return status::invalid_argument;
    return days_to(date) * seconds_per_day + h * 3600 + min * 60 + s;
}

/// Writes a time into the registers, in the mode that register B says. Years go round after 9999. The day of the week
/// is what the guest made of it and moves by `days`.
[[gnu::cold]] constexpr void show(bytes& r, std::int64_t time, std::int64_t days) {
    auto const mode = r[b];
    auto const date = date_after(time >= 0 ? time / seconds_per_day : (time + 1) / seconds_per_day - 1);
    auto const of_day = static_cast<unsigned>((time % seconds_per_day + seconds_per_day) % seconds_per_day);
    r[seconds] = encode(mode, of_day % 60);
    r[minutes] = encode(mode, of_day / 60 % 60);
    r[hours] = encode_hour(mode, of_day / 3600);
    r[day_of_month] = encode(mode, date.day);
    r[month] = encode(mode, date.month);
    r[year] = encode(mode, static_cast<unsigned>(date.year % 100));
    r[century] = encode(mode, static_cast<unsigned>(date.year / 100 % 100));
    if (r[day_of_week] >= 1 and r[day_of_week] <= 7)
        r[day_of_week] = static_cast<std::uint8_t>((r[day_of_week] - 1 + days % 7) % 7 + 1);
}

/// Seconds from the time of day `from` (0-86399) to the next that the alarm registers match, 1 to 86400; 0 if none
/// does. An alarm byte with both upper bits set matches everything.
[[nodiscard, gnu::cold]] constexpr auto seconds_to_alarm(bytes const& r, unsigned from) -> unsigned {
    auto const mode = r[b];
    auto const matches = [](std::uint8_t wanted, std::uint8_t shown) {
        return (wanted & 0xc0) == 0xc0 or wanted == shown;
    };
    auto const is_possible = [&](std::uint8_t wanted) {
        return (wanted & 0xc0) == 0xc0 or (decode(mode, wanted) < 60);
    };
    if (not is_possible(r[seconds_alarm]) or not is_possible(r[minutes_alarm]))
        return 0; // what follows would try every second of a day
    for (unsigned ahead{1}; ahead <= seconds_per_day;) {
        auto const t = static_cast<unsigned>((from + ahead) % seconds_per_day);
        if (not matches(r[hours_alarm], encode_hour(mode, t / 3600)))
            ahead += 3600 - t % 3600;
        else if (not matches(r[minutes_alarm], encode(mode, t / 60 % 60)))
            ahead += 60 - t % 60;
        else if (not matches(r[seconds_alarm], encode(mode, t % 60)))
            ++ahead;
        else
            return ahead;
    }
    return 0;
}

} // namespace hv::rtc_registers
