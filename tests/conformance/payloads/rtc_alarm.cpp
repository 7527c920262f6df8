// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the clock's alarm interrupts at its second, with "don't care" each second, and says so in register C.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 clock{pic::first_vector + 8};
u8 volatile cause;
u8 volatile second_then;

auto next_second(u8 value) -> u8 {
    if ((rtc::read(0x0b) & 4) != 0)
        return value == 59 ? u8{0} : static_cast<u8>(value + 1);
    if (value == 0x59)
        return 0;
    return static_cast<u8>((value & 0xf) == 9 ? value + 7 : value + 1);
}
} // namespace

void payload::run() {
    pic::initialise();
    (void)tsc_per_ms();
    set_handler(clock, [](frame&) {
        cause = rtc::read(0x0c);
        second_then = rtc::read(0);
        pic::end(8);
    });
    auto const b = rtc::read(0x0b);
    u8 const saved[]{rtc::read(1), rtc::read(3), rtc::read(5)};
    auto const wanted = next_second(next_second(rtc::read(0)));
    rtc::write(1, wanted);
    rtc::write(3, 0xc0); // any minute
    rtc::write(5, 0xc0); // any hour
    (void)rtc::read(0x0c);
    rtc::write(0x0b, static_cast<u8>((b & 0x0f) | 0x20));
    pic::unmask(8);
    auto const begin = rdtsc();
    wait_for_interrupt();
    expect_equal(count_of(clock), 1, "one alarm");
    expect_equal(cause & 0xa0, 0xa0, "register C says alarm");
    expect_equal(second_then, wanted, "at its second");
    expect_between((rdtsc() - begin) / tsc_per_ms(), 900, 2300, "milliseconds to the second after the next");

    // Any second.
    rtc::write(1, 0xff);
    auto before = count_of(clock);
    auto const from = rdtsc();
    wait_for_interrupt();
    expect_equal(count_of(clock) - before, 1, "an alarm of any second");
    expect_between((rdtsc() - from) / tsc_per_ms(), 700, 1300, "milliseconds to it");
    // Off: the flag comes, the interrupt does not.
    rtc::write(0x0b, static_cast<u8>(b & 0x0f));
    (void)rtc::read(0x0c);
    before = count_of(clock);
    sti();
    expect(wait_until(1500, [] { return (rtc::read(0x0c) & 0x20) != 0; }), "the alarm's flag without its interrupt");
    cli();
    expect_equal(count_of(clock), before, "interrupts of an alarm that is off");
    rtc::write(1, saved[0]);
    rtc::write(3, saved[1]);
    rtc::write(5, saved[2]);
    rtc::write(0x0b, b);
    (void)rtc::read(0x0c);
}
