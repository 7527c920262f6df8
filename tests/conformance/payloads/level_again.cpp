// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_vmx_apicv
// judges: a level-triggered interrupt comes again after each EOI while its line is up, and no more once it is down.
// reference: no, QEMU's HPET clears a level-triggered interrupt by itself.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 vector_of_line{0x60};
unsigned pin;
u64 volatile arrivals, clear_at;
} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    (void)tsc_per_ms();
    auto const routes = hpet::read(hpet::configuration_of(0)) >> 32;
    for (pin = ioapic::pins(); pin-- != 0;)
        if ((routes >> pin & 1) != 0)
            break;
    ioapic::route(pin, ioapic::level | vector_of_line);
    set_handler(vector_of_line, [](frame&) {
        arrivals = arrivals + 1;
        expect(lapic::bit(lapic::tmr, vector_of_line), "the trigger mode says level");
        expect((ioapic::entry(pin) & ioapic::remote_irr) != 0, "remote IRR is set in service");
        if (arrivals == clear_at)
            hpet::write(hpet::status, 1); // the line falls
        lapic::end();
    });
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::counter, 0);
    hpet::write(hpet::status, 1);
    hpet::write(hpet::configuration_of(0), u64{pin} << 9 | hpet::interrupt | hpet::level);
    hpet::write(hpet::comparator_of(0), hpet::frequency() / 1000);
    for (unsigned round{1}; round != 4; ++round) {
        arrivals = 0;
        clear_at = round;
        hpet::write(hpet::counter, 0);
        hpet::write(hpet::configuration, 1);
        sti();
        expect(wait_until(100, [] { return arrivals == clear_at; }), "the line was served until it fell");
        wait_ms(3);
        cli();
        hpet::write(hpet::configuration, 0);
        expect_equal(arrivals, round, "no more once it is down");
        expect_equal(ioapic::entry(pin) & ioapic::remote_irr, 0, "remote IRR behind it");
    }
    // Masked at the I/O APIC while up: it comes when the mask goes.
    arrivals = 0;
    clear_at = 1;
    ioapic::route(pin, ioapic::masked | ioapic::level | vector_of_line);
    hpet::write(hpet::counter, 0);
    hpet::write(hpet::configuration, 1);
    sti();
    wait_ms(5);
    expect_equal(arrivals, 0, "a masked line");
    ioapic::route(pin, ioapic::level | vector_of_line);
    expect(wait_until(100, [] { return arrivals == 1; }), "the line once its mask goes");
    cli();
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::configuration_of(0), 0);
    ioapic::route(pin, ioapic::masked);
}
