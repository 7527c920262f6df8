// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a level-triggered line interrupts again after each EOI for as long as its device asserts it, and not after.
// also on: pc_vmx_apicv
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u16 uart{0x3f8};
u64 volatile left;

void serve(frame&) {
    if (left != 0)
        left = left - 1;
    if (left == 0)
        (void)in8(uart + 2); // reading the identification ends a transmitter interrupt
    lapic::end();
}
} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    set_handler(0x44, serve);
    out8(uart + 1, 0);
    out8(uart + 3, 3);
    out8(uart + 4, 8); // OUT2 connects the interrupt
    ioapic::route(4, 0x44 | ioapic::level);

    left = 5;
    out8(uart + 1, 2); // transmitter empty: asserted at once
    sti();
    expect(wait_until(100, [] { return left == 0; }), "the line interrupts again after each EOI");
    wait_ms(2);
    auto const total = count_of(0x44);
    wait_ms(2);
    cli();
    expect_equal(count_of(0x44), total, "a line that fell is quiet");
    expect_between(total, 5, 6, "interrupts of one level");

    // Remote IRR stands between delivery and EOI, and masks the line meanwhile.
    set_handler(0x44, [](frame&) {
        expect_equal(ioapic::entry(4) & ioapic::remote_irr, ioapic::remote_irr, "remote IRR in the handler");
        auto const before = count_of(0x44);
        sti();
        wait_ms(1);
        cli();
        expect_equal(count_of(0x44), before, "no second one before EOI");
        (void)in8(uart + 2);
        lapic::end();
    });
    out8(uart + 1, 0);
    out8(uart + 1, 2);
    sti();
    wait_ms(2);
    cli();
    expect_equal(count_of(0x44), total + 1, "one more");
    expect_equal(ioapic::entry(4) & ioapic::remote_irr, 0, "remote IRR after EOI");
    out8(uart + 1, 0);
    out8(uart + 4, 0);
    ioapic::route(4, ioapic::masked);
}
