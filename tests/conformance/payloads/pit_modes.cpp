// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: channel 0 of the 8254 interrupts once in modes 0 and 4, and at its rate in modes 2 and 3, by the TSC's time.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 line0{pic::first_vector};
constexpr u64 ms_of_count{10};
constexpr u16 ten_ms{static_cast<u16>(pit::frequency * ms_of_count / 1000)};

void load(u16 count) {
    out8(0x40, static_cast<u8>(count));
    out8(0x40, static_cast<u8>(count >> 8));
}
/// Interrupts within so many milliseconds.
auto within(u64 ms) -> u64 {
    auto const before = count_of(line0);
    sti();
    wait_ms(ms);
    cli();
    return count_of(line0) - before;
}
} // namespace

void payload::run() {
    pic::initialise();
    (void)tsc_per_ms();
    set_handler(line0, [](frame&) { pic::end(0); });
    pic::unmask(0);
    unsigned const once[]{0, 4};
    for (auto const mode : once) {
        pit::stop();
        out8(0x43, static_cast<u8>(0x30 | mode << 1)); // in mode 4 OUT rises at once
        (void)within(2);
        auto const before = count_of(line0);
        auto const begin = rdtsc();
        load(ten_ms);
        while (count_of(line0) == before)
            wait_for_interrupt();
        expect_between((rdtsc() - begin) * 10 / tsc_per_ms(), 90, 400, "tenths of a millisecond to the interrupt");
        expect_equal(within(35), 0, "interrupts behind the only one");
    }
    unsigned const rates[]{2, 3};
    for (auto const mode : rates) {
        pit::start(0, mode, ten_ms);
        while (within(1) == 0) {
        }
        auto const before = count_of(line0);
        auto const begin = rdtsc();
        while (count_of(line0) - before != 20)
            wait_for_interrupt();
        expect_between((rdtsc() - begin) * 10 / tsc_per_ms(), 1880, 2300, "tenths of a millisecond for 20 periods");
        // A new count takes effect; mode 0 without a count ends it.
        pit::start(0, mode, ten_ms / 2);
        expect_between(within(100), 15, 22, "interrupts in 100 ms at twice the rate");
        pit::stop();
        (void)within(1);
        expect_equal(within(30), 0, "interrupts without a count");
    }
    // Mode 0 restarts at each count.
    pit::start(0, 0, ten_ms);
    for (unsigned i{}; i != 5; ++i) {
        wait_ms(3);
        load(ten_ms);
    }
    expect_equal(within(5), 0, "interrupts while the count is renewed");
    expect_equal(within(30), 1, "one when it is not");
    pit::stop();
}
