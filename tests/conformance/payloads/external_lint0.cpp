// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_vmx_apicv
// judges: the 8259's interrupts come through LINT0 as ExtINT, past priorities and EOI of the APIC; a mask stops them.
// SDM Vol. 3A, "Local Interrupt Acceptance".
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 line0{pic::first_vector};
constexpr u32 external{7u << 8};

/// Whether a tick of the 8254 arrives; one shot.
auto ticks() -> bool {
    auto const before = count_of(line0);
    pit::start(0, 0, 100);
    sti();
    wait_ms(3);
    cli();
    return count_of(line0) != before;
}
} // namespace

void payload::run() {
    pic::initialise();
    (void)tsc_per_ms();
    static u64 volatile in_service;
    set_handler(line0, [](frame&) {
        u64 found{};
        for (unsigned i{}; i != 8; ++i)
            found |= lapic::read(lapic::isr + 0x10 * i);
        in_service = in_service | found;
        pic::end(0);
    });
    pic::unmask(0);
    lapic::enable();
    lapic::write(lapic::lvt_lint0, external);
    expect(ticks(), "ExtINT at LINT0");
    expect_equal(in_service, 0, "nothing in service in the APIC");
    lapic::write(lapic::tpr, 0xf0);
    expect(ticks(), "past the task priority");
    lapic::write(lapic::tpr, 0);
    set_handler(0xf1, [](frame&) {
        expect(ticks(), "past an interrupt in service");
        lapic::end();
    });
    lapic::send(0x400f1);
    sti();
    wait_ms(5);
    cli();
    expect_equal(count_of(0xf1), 1, "the interrupt in service");

    lapic::write(lapic::lvt_lint0, lapic::masked | external);
    expect(not ticks(), "masked at LINT0");
    lapic::write(lapic::lvt_lint0, external);
    sti();
    wait_ms(1);
    cli();
    auto const kept = count_of(line0);
    expect(ticks() or kept != 0, "unmasked again");
    pic::set_masks(0xffff);
    expect(not ticks(), "masked at the 8259");
    pic::unmask(0);
    sti();
    wait_ms(1);
    cli();
    lapic::write(lapic::lvt_lint0, lapic::masked);
    // The I/O APIC can be the way too: pin 0 in ExtINT mode, or pin 2 for line 0 itself.
    set_handler(0x70, lapic::acknowledge);
    ioapic::route(2, 0x70);
    pic::set_masks(0xffff);
    auto const before = count_of(0x70);
    (void)ticks();
    expect_equal(count_of(0x70) - before, 1, "line 0 at pin 2 of the I/O APIC");
    ioapic::route(2, ioapic::masked);
    pit::stop();
}
