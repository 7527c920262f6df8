// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the clock ticks: seconds advance once a second, each announced by an update-ended interrupt.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 clock{pic::first_vector + 8};

auto seconds_of_day() -> u64 {
    auto const number = [](u8 index) { // binary or BCD, as register B says
        auto const value = rtc::read(index);
        return u64{(rtc::read(0x0b) & 4) != 0 ? value : (value >> 4) * 10u + (value & 15u)};
    };
    return number(0) + 60 * number(2);
}
} // namespace

void payload::run() {
    pic::initialise();
    set_handler(clock, [](frame&) {
        expect_equal(rtc::read(0x0c) & 0x90, 0x90, "register C says update ended");
        pic::end(8);
    });
    auto const b = rtc::read(0x0b);
    expect_equal(rtc::read(0x0d) & 0x80, 0x80, "the battery is good");
    (void)rtc::read(0x0c);
    rtc::write(0x0b, static_cast<u8>((b & 0x0f) | 0x10));
    pic::unmask(8);
    wait_for_interrupt();
    auto const first = seconds_of_day();
    auto const begin = rdtsc();
    wait_for_interrupt();
    auto const second = seconds_of_day();
    wait_for_interrupt();
    auto const third = seconds_of_day();
    auto const ms = (rdtsc() - begin) / tsc_per_ms();
    expect_equal((second + 3600 - first) % 3600, 1, "a second between two updates");
    expect_equal((third + 3600 - second) % 3600, 1, "a second between the next two");
    expect_between(ms, 1900, 2300, "milliseconds for two seconds");
    rtc::write(0x0b, b);
    (void)rtc::read(0x0c);
}
