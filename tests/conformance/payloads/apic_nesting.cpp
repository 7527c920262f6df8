// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_vmx_apicv
// judges: interrupts nest by priority class, EOI ends the highest in service, and the processor priority says which.
// also on: pc_vmx_apicv
// SDM Vol. 3A, "Interrupt, Task, and Processor Priority".
#include "devices.hpp"

using namespace payload;

namespace {
u8 entered[32], left[32];
unsigned entries, exits_;

auto service_count() -> unsigned {
    unsigned n{};
    for (unsigned v{16}; v != 256; ++v)
        n += lapic::bit(lapic::isr, v) ? 1 : 0;
    return n;
}
/// Each handler sends an interrupt of the next class, one of its own class, and one of the class below.
void nest(frame& f) {
    auto const v = static_cast<u8>(f.vector);
    entered[entries++ % 32] = v;
    expect_equal(lapic::read(lapic::ppr), v & 0xf0u, "the processor priority is the class in service");
    if ((v & 0xf) == 0) {
        expect_equal(service_count(), (v >> 4) - 3u, "in service");
        if (v < 0x90) {
            lapic::send(0x40000u | (v - 0xfu)); // below
            lapic::send(0x40000u | (v + 1u));   // beside
            lapic::send(0x40000u | (v + 0x10u));
            sti();
            (void)lapic::read(lapic::id);
            (void)cpuid(0);
            cli();
        }
    }
    left[exits_++ % 32] = v;
    lapic::end();
}
} // namespace

void payload::run() {
    lapic::enable();
    for (unsigned v{0x30}; v != 0xff; ++v)
        set_handler(v, nest);
    lapic::send(0x40040);
    sti();
    (void)cpuid(0);
    wait_ms(1);
    cli();
    // 40h to 90h nest; then each level's neighbour and the one below it follow, highest first.
    for (unsigned i{}; i != 6; ++i)
        expect_equal(entered[i], 0x40 + 0x10 * i, "the way in");
    expect_equal(left[0], 0x90, "the highest leaves first");
    expect_equal(entries, exits_, "each left");
    expect_equal(entries, 12, "handlers");
    for (unsigned v{0x40}; v != 0x90; v += 0x10)
        expect_equal(count_of(v + 1), 1, "each neighbour once, though asked for twice");
    expect_equal(count_of(0x31), 1, "the one below all");
    expect_equal(entered[11], 0x31, "it is the last");
    expect_equal(lapic::read(lapic::ppr), 0, "nothing in service at the end");
    expect_equal(service_count(), 0, "nothing in service");

    // An EOI with nothing in service does nothing; TPR alone sets the processor priority.
    lapic::end();
    for (unsigned priority{}; priority < 0x100; priority += 0x11) {
        lapic::write(lapic::tpr, priority);
        expect_equal(lapic::read(lapic::ppr), priority, "the processor priority is TPR's");
    }
    lapic::write(lapic::tpr, 0);

    // EOI out of order ends the highest, not the one whose handler wrote it.
    static u64 inner;
    set_handler(0x50, [](frame&) {
        lapic::send(0x40060);
        sti();
        (void)cpuid(0);
        wait_ms(1);
        cli();
        expect(lapic::bit(lapic::isr, 0x60), "60h is in service still");
        lapic::end();
        expect(not lapic::bit(lapic::isr, 0x60), "EOI ended 60h");
        expect(lapic::bit(lapic::isr, 0x50), "50h is in service still");
        lapic::end();
        expect(not lapic::bit(lapic::isr, 0x50), "a second EOI ended 50h");
    });
    set_handler(0x60, [](frame&) { ++inner; });
    (void)tsc_per_ms();
    lapic::send(0x40050);
    sti();
    wait_ms(2);
    cli();
    expect_equal(inner, 1, "60h came");
}
