// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: HLT sleeps until an HPET timer's interrupt comes through the I/O APIC, by an edge and by a level.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 timer{0x50};

/// The highest pin that timer 0 can reach and the I/O APIC has.
auto pin_of_timer() -> unsigned {
    auto const routes = hpet::read(hpet::configuration_of(0)) >> 32;
    for (auto pin = ioapic::pins(); pin-- != 0;)
        if ((routes >> pin & 1) != 0)
            return pin;
    return 0;
}
} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    set_handler(timer, lapic::acknowledge);
    auto const pin = pin_of_timer();
    expect(pin >= 16, "timer 0 reaches a pin of its own");
    ioapic::route(pin, timer);

    auto const ms = hpet::frequency() / 1000;
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::counter, 0);
    auto const route = u64{pin} << 9;
    hpet::write(hpet::configuration_of(0), route | hpet::interrupt);
    hpet::write(hpet::comparator_of(0), 10 * ms);
    auto const begin = rdtsc();
    hpet::write(hpet::configuration, 1);
    wait_for_interrupt();
    expect_equal(count_of(timer), 1, "one comparison is one interrupt");
    expect_between((rdtsc() - begin) / tsc_per_ms(), 9, 110, "milliseconds until then");
    expect(hpet::read(hpet::counter) >= 10 * ms, "the counter is past the comparator");

    // Level-triggered: the line stays up until the status bit is cleared.
    ioapic::route(pin, timer | ioapic::level);
    set_handler(timer, [](frame&) {
        hpet::write(hpet::status, 1);
        lapic::end();
    });
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::counter, 0);
    hpet::write(hpet::configuration_of(0), route | hpet::interrupt | hpet::level);
    hpet::write(hpet::comparator_of(0), 5 * ms);
    auto const level = count_of(timer);
    hpet::write(hpet::configuration, 1);
    wait_for_interrupt();
    sti();
    wait_ms(20);
    cli();
    expect_equal(count_of(timer) - level, 1, "one level is one interrupt once it is acknowledged");
    expect_equal(hpet::read(hpet::status) & 1, 0, "the status bit is clear");
}
