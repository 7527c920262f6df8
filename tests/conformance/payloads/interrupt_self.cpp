// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a processor that sends itself interrupts by any destination gets each once, by priority, with EOI in order.
// also on: pc_vmx_apicv
#include "devices.hpp"

using namespace payload;

namespace {
unsigned order[8];
unsigned arrived;

void record(frame& f) {
    order[arrived++ % 8] = static_cast<unsigned>(f.vector);
    lapic::end();
}

void send_and_expect(u32 low, u32 destination, char const* what) {
    auto const before = count_of(low & 0xff);
    lapic::send(low, destination);
    sti();
    expect(wait_until(100, [=] { return count_of(low & 0xff) == before + 1; }), what);
    cli();
}
} // namespace

void payload::run() {
    lapic::enable();
    for (unsigned v{0x40}; v != 0x100; ++v)
        set_handler(v, record);
    auto const self = lapic::own_id();
    send_and_expect(0x40, self, "physical destination");
    send_and_expect(0x41, 0xff, "physical broadcast");
    send_and_expect(0x40042, 0, "shorthand self");
    send_and_expect(0x80043, 0, "shorthand all including self");
    lapic::write(lapic::dfr, 0xffffffff);
    lapic::write(lapic::ldr, 0x04000000);
    send_and_expect(0x844, 0x04, "flat logical destination");
    send_and_expect(0x844, 0x0c, "flat logical destination of several");
    lapic::write(lapic::dfr, 0x0fffffff);
    lapic::write(lapic::ldr, 0x21000000);
    send_and_expect(0x845, 0x21, "cluster destination");

    // Not for this processor.
    auto const before = count_of(0x46);
    lapic::send(0xc0046);
    lapic::send(0x46, self + 1);
    lapic::send(0x846, 0x11);
    sti();
    wait_ms(5);
    cli();
    expect_equal(count_of(0x46), before, "interrupts for others");

    // Several pending: the highest first, the same vector once.
    arrived = 0;
    u32 const vectors[]{0x51, 0x93, 0x72, 0x93, 0x51};
    for (auto const v : vectors)
        lapic::send(0x40000 | v);
    expect(lapic::bit(lapic::irr, 0x72), "pending before interrupts are on");
    sti();
    wait_ms(2);
    cli();
    expect_equal(arrived, 3, "three vectors arrive");
    expect_equal(order[0], 0x93, "the highest first");
    expect_equal(order[1], 0x72, "then the next");
    expect_equal(order[2], 0x51, "then the lowest");

    // In service: seen in ISR, blocks its own class and below until EOI.
    arrived = 0;
    set_handler(0x82, [](frame&) {
        expect(lapic::bit(lapic::isr, 0x82), "in service inside its handler");
        expect_equal(lapic::read(lapic::ppr) & 0xf0, 0x80, "processor priority inside a handler");
        lapic::send(0x40081); // the same class: waits
        lapic::send(0x400a1); // a higher one: nests
        sti();
        wait_ms(1);
        cli();
        expect_equal(arrived, 1, "only the higher class nests");
        lapic::end();
    });
    lapic::send(0x40082);
    sti();
    wait_ms(5);
    cli();
    expect_equal(arrived, 2, "the waiting one comes after EOI");
    expect_equal(order[0], 0xa1, "the nested one");
    expect_equal(order[1], 0x81, "the waiting one");
}
