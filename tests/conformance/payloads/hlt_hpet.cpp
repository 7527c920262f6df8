// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: HLT sleeps until an HPET timer's interrupt comes through the I/O APIC, by an edge and by a level.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 timer{0x50};
} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    set_handler(timer, lapic::acknowledge);
    auto const pin = hpet::route(timer);
    expect(pin >= 16, "timer 0 reaches a pin of its own");

    auto const ms = hpet::frequency() / 1000;
    auto const begin = rdtsc();
    hpet::start(pin, 0, 10 * ms);
    wait_for_interrupt();
    expect_equal(count_of(timer), 1, "one comparison is one interrupt");
    expect_between((rdtsc() - begin) / tsc_per_ms(), 9, 110, "milliseconds until then");
    expect(hpet::read(hpet::counter) >= 10 * ms, "the counter is past the comparator");

    // Level-triggered: the line stays up until the status bit is cleared.
    (void)hpet::route(timer | ioapic::level);
    set_handler(timer, [](frame&) {
        hpet::write(hpet::status, 1);
        lapic::end();
    });
    auto const level = count_of(timer);
    hpet::start(pin, hpet::level, 5 * ms);
    wait_for_interrupt();
    sti();
    wait_ms(20);
    cli();
    expect_equal(count_of(timer) - level, 1, "one level is one interrupt once it is acknowledged");
    expect_equal(hpet::read(hpet::status) & 1, 0, "the status bit is clear");
}
