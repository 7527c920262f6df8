// SPDX-License-Identifier: BSD-2-Clause
#include <kernel_glue/bare/calibration.hpp>
#include <kernel_glue/bare/cmos_clock.hpp>
#include <kernel_glue/bare/tsc_clock.hpp>

#include <catch2/catch.hpp>

#include <ctime>

using namespace hv::bare;

TEST_CASE("a rate converts without losing more than the last unit in a day") {
    constexpr std::uint64_t day{86'400};
    for (std::uint64_t const frequency : {50'000'000ull, 1'000'000'000ull, 2'599'997'123ull, 5'000'000'001ull}) {
        auto const to_nanoseconds = rate::of(1'000'000'000, frequency);
        auto const to_ticks = rate::of(frequency, 1'000'000'000);
        for (std::uint64_t const seconds : {std::uint64_t{1}, std::uint64_t{3'600}, day}) {
            auto const exact = seconds * 1'000'000'000;
            CHECK(to_nanoseconds(seconds * frequency) <= exact);
            CHECK(to_nanoseconds(seconds * frequency) >= exact - 1);
            CHECK(to_ticks(exact) <= seconds * frequency);
            CHECK(to_ticks(exact) >= seconds * frequency - 1);
        }
    }
}

TEST_CASE("a rate does not overflow within the life of a machine") {
    constexpr std::uint64_t century{100ull * 365 * 86'400};
    auto const to_nanoseconds = rate::of(1'000'000'000, 5'000'000'000);
    CHECK(to_nanoseconds(century * 5'000'000'000) / 1'000'000'000 >= century - 1);
}

TEST_CASE("deadlines become counter values at which the clock is not early") {
    for (std::uint64_t const frequency : {50'000'000ull, 1'000'000'000ull, 2'599'997'123ull, 5'000'000'001ull}) {
        tsc_clock const c{frequency, 1'000};
        CHECK(c.tsc_at(0) == 1'000);
        CHECK(c.tsc_at(-5) == 1'000);
        constexpr std::int64_t month{30 * 86'400 * 1'000'000'000ll};
        for (std::int64_t when{1}; when < month; when = when * 3 + 7) {
            REQUIRE(c.at(c.tsc_at(when)) >= when);
            REQUIRE(c.at(c.tsc_at(when)) - when <= 3 * static_cast<std::int64_t>(1'000'000'000 / frequency) + 3);
        }
    }
}

TEST_CASE("a frequency follows from ticks and the reference's ticks") {
    CHECK(frequency_of(1'000'000, 3'579'545, 3'579'545) == 1'000'000);
    CHECK(frequency_of(52'000'000, 71'590, 3'579'545) == 2'600'032'686);
    CHECK(frequency_of(1, 0, 3'579'545) == 0);
}

TEST_CASE("a reference's ticks are counted across its wrap") {
    auto const narrow = reference_clock::pm_timer(0x608, false);
    CHECK(narrow.between(0xfffff0, 0x10) == 0x20);
    auto const wide = reference_clock::pm_timer(0x608, true);
    CHECK(wide.between(0xfffffff0, 0x10) == 0x20);
}

TEST_CASE("CMOS time agrees with the calendar") {
    auto const bcd = [](int n) { return static_cast<std::uint8_t>(n / 10 << 4 | n % 10); };
    for (std::int64_t day{0}; day < 100 * 365; ++day) {
        std::time_t const t{day * 86'400 + day % 86'400};
        std::tm parts{};
        gmtime_r(&t, &parts);
        if (parts.tm_year >= 170) // 2070
            break;
        cmos_time const binary{.second = static_cast<std::uint8_t>(parts.tm_sec),
                               .minute = static_cast<std::uint8_t>(parts.tm_min),
                               .hour = static_cast<std::uint8_t>(parts.tm_hour),
                               .day = static_cast<std::uint8_t>(parts.tm_mday),
                               .month = static_cast<std::uint8_t>(parts.tm_mon + 1),
                               .year = static_cast<std::uint8_t>(parts.tm_year % 100),
                               .binary = true,
                               .twenty_four_hours = true};
        REQUIRE(seconds_since_1970(binary) == t);
        cmos_time const decimal{.second = bcd(parts.tm_sec),
                                .minute = bcd(parts.tm_min),
                                .hour = bcd(parts.tm_hour),
                                .day = bcd(parts.tm_mday),
                                .month = bcd(parts.tm_mon + 1),
                                .year = bcd(parts.tm_year % 100),
                                .binary = false,
                                .twenty_four_hours = true};
        REQUIRE(seconds_since_1970(decimal) == t);
    }
}

TEST_CASE("twelve-hour clocks begin both halves with twelve") {
    auto const hour = [](std::uint8_t h) {
        return seconds_since_1970({.hour = h, .day = 1, .month = 1, .year = 0x70}) / 3600;
    };
    CHECK(hour(0x12) == 0);
    CHECK(hour(0x01) == 1);
    CHECK(hour(0x11) == 11);
    CHECK(hour(0x92) == 12);
    CHECK(hour(0x81) == 13);
    CHECK(hour(0x91) == 23);
}

TEST_CASE("a board without a clock has some time and no disaster") {
    auto const seconds = seconds_since_1970({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, true, true});
    constexpr std::int64_t year_2200{230 * 366ll * 86400};
    CHECK(seconds > 0);
    CHECK(seconds < year_2200);
}
