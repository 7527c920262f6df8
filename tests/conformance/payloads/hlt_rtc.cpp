// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: the clock's periodic interrupt ends HLT; it does not come again before register C was read.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 clock{pic::first_vector + 8};
} // namespace

void payload::run() {
    pic::initialise();
    set_handler(clock, [](frame&) {
        expect_equal(rtc::read(0x0c) & 0xc0, 0xc0, "register C says periodic interrupt");
        pic::end(8);
    });
    auto const b = rtc::read(0x0b);
    (void)rtc::read(0x0c);
    rtc::write(0x0a, 0x26); // 32768 Hz base, 1024 Hz
    rtc::write(0x0b, static_cast<u8>((b & 0x0f) | 0x40));
    pic::unmask(8);
    wait_for_interrupt();
    auto const before = count_of(clock);
    auto const begin = rdtsc();
    while (count_of(clock) - before < 64)
        wait_for_interrupt();
    expect_between((rdtsc() - begin) / tsc_per_ms(), 55, 400, "milliseconds for 64 periods of 1/1024 s");

    set_handler(clock, [](frame&) { pic::end(8); });
    wait_for_interrupt();
    auto const unread = count_of(clock);
    sti();
    wait_ms(20);
    cli();
    expect_equal(count_of(clock), unread, "interrupts while register C is not read");
    expect_equal(rtc::read(0x0c) & 0xc0, 0xc0, "register C when it is read");
    rtc::write(0x0b, b);
    (void)rtc::read(0x0c);
}
