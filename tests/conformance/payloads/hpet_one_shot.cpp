// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a one-shot HPET timer interrupts once at its comparator, by the TSC's time, again when the comparator moves.
// reference: no, QEMU interrupts at once for a comparator that the counter has passed.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 timer{0x50};
u64 volatile arrived_at;
} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    auto const ms = tsc_per_ms();
    set_handler(timer, [](frame&) {
        arrived_at = rdtsc();
        lapic::end();
    });
    auto const routes = hpet::read(hpet::configuration_of(0)) >> 32;
    unsigned pin{ioapic::pins()};
    while (pin-- != 0)
        if ((routes >> pin & 1) != 0)
            break;
    ioapic::route(pin, timer);
    auto const ticks = hpet::frequency() / 1000;
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::counter, 0);
    hpet::write(hpet::configuration_of(0), u64{pin} << 9 | hpet::interrupt);
    hpet::write(hpet::configuration, 1);

    for (u64 wait{2}; wait != 64; wait *= 2) {
        auto const before = count_of(timer);
        auto const begin = rdtsc();
        hpet::write(hpet::comparator_of(0), hpet::read(hpet::counter) + wait * ticks);
        wait_for_interrupt();
        expect_equal(count_of(timer) - before, 1, "one interrupt");
        expect_between((arrived_at - begin) * 10 / ms, wait * 10 - 1, wait * 10 + 300,
                       "tenths of a millisecond to the comparator");
    }
    auto before = count_of(timer);
    sti();
    wait_ms(20);
    cli();
    expect_equal(count_of(timer), before, "interrupts behind the last");

    // A comparator that moves away before it is reached.
    hpet::write(hpet::comparator_of(0), hpet::read(hpet::counter) + 5 * ticks);
    hpet::write(hpet::comparator_of(0), hpet::read(hpet::counter) + 1000 * ticks);
    sti();
    wait_ms(20);
    cli();
    expect_equal(count_of(timer), before, "interrupts of a comparator that moved");
    // Stopped, the counter stands and nothing comes; running again, it goes on.
    hpet::write(hpet::comparator_of(0), hpet::read(hpet::counter) + 5 * ticks);
    hpet::write(hpet::configuration, 0);
    auto const stands = hpet::read(hpet::counter);
    sti();
    wait_ms(20);
    cli();
    expect_equal(hpet::read(hpet::counter), stands, "a stopped counter");
    expect_equal(count_of(timer), before, "interrupts of a stopped counter");
    hpet::write(hpet::configuration, 1);
    wait_for_interrupt();
    expect_equal(count_of(timer) - before, 1, "an interrupt once it runs again");
    // Off: nothing.
    before = count_of(timer);
    hpet::write(hpet::configuration_of(0), u64{pin} << 9);
    hpet::write(hpet::comparator_of(0), hpet::read(hpet::counter) + 2 * ticks);
    sti();
    wait_ms(10);
    cli();
    expect_equal(count_of(timer), before, "interrupts of a timer that is off");
    hpet::write(hpet::configuration, 0);
    ioapic::route(pin, ioapic::masked);
}
