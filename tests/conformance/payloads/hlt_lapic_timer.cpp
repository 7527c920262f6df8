// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// smoke: yes
// judges: HLT sleeps until the local APIC's timer fires, once or periodically, and the counter tells the same time.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 timer{0x40};

/// Timer ticks in a millisecond, at a divisor of 16.
auto ticks_per_ms() -> u32 {
    lapic::write(lapic::divide, 3);
    lapic::write(lapic::lvt_timer, lapic::masked | timer);
    lapic::write(lapic::initial_count, ~u32{});
    auto const ticks_before = lapic::read(lapic::current_count);
    wait_ms(50);
    return (ticks_before - lapic::read(lapic::current_count)) / 50;
}
} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    set_handler(timer, lapic::acknowledge);
    auto const rate = ticks_per_ms();
    expect(rate > 100, "the timer counts");

    for (unsigned shift{}; shift != 3; ++shift) {
        lapic::write(lapic::divide, 3);
        lapic::write(lapic::lvt_timer, timer);
        auto const before = count_of(timer);
        auto const begin = rdtsc();
        lapic::write(lapic::initial_count, rate * 10 << shift);
        wait_for_interrupt();
        expect_equal(count_of(timer) - before, 1, "one shot is one interrupt");
        expect_between((rdtsc() - begin) / tsc_per_ms(), (10u << shift) - 1, (10u << shift) + 100,
                       "milliseconds of one shot");
        expect_equal(lapic::read(lapic::current_count), 0, "the counter stays at 0");
        wait_ms(5);
    }

    auto const before = count_of(timer);
    lapic::write(lapic::lvt_timer, lapic::periodic | timer);
    lapic::write(lapic::initial_count, rate * 5);
    auto const begin = rdtsc();
    for (unsigned i{}; i != 20; ++i)
        wait_for_interrupt();
    expect_equal(count_of(timer) - before, 20, "one interrupt for each HLT");
    expect_between((rdtsc() - begin) / tsc_per_ms(), 90, 300, "milliseconds for 20 periods of 5 ms");
    auto const count = lapic::read(lapic::current_count);
    expect(count > 0 and count <= rate * 5, "the counter runs within its period");

    lapic::write(lapic::initial_count, 0);
    auto const stopped = count_of(timer);
    sti();
    wait_ms(20);
    cli();
    expect_between(count_of(timer) - stopped, 0, 1, "interrupts after an initial count of 0");

    // A masked timer counts but does not interrupt.
    lapic::write(lapic::lvt_timer, lapic::masked | timer);
    lapic::write(lapic::initial_count, rate * 5);
    auto const masked = count_of(timer);
    sti();
    wait_ms(20);
    cli();
    expect_equal(count_of(timer), masked, "interrupts of a masked timer");
}
