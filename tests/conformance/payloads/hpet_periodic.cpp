// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a periodic HPET timer interrupts once a period, and stops when it is told to.
// reference: no, QEMU interrupts twice for one period when it is exactly on time.
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
    auto const route = u64{pin} << 9;
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::counter, 0);
    hpet::write(hpet::configuration_of(0), route | hpet::interrupt | hpet::periodic | hpet::set_value);
    hpet::write(hpet::comparator_of(0), 5 * ms);
    hpet::write(hpet::comparator_of(0), 5 * ms);
    auto const before = count_of(timer);
    auto const start = rdtsc();
    hpet::write(hpet::configuration, 1);
    for (unsigned i{}; i != 20; ++i)
        wait_for_interrupt();
    expect_equal(count_of(timer) - before, 20, "one interrupt for each HLT");
    expect_between((rdtsc() - start) / tsc_per_ms(), 95, 300, "milliseconds for 20 periods of 5 ms");

    hpet::write(hpet::configuration_of(0), 0);
    auto const off = count_of(timer);
    sti();
    wait_ms(20);
    cli();
    expect_between(count_of(timer) - off, 0, 1, "interrupts of a timer that is off");
}
