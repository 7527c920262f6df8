// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: interrupts of higher classes interrupt handlers, those of lower ones wait for every EOI; ISR and PPR follow.
// also on: pc_vmx_apicv
#include "devices.hpp"

using namespace payload;

namespace {
constexpr unsigned first{0x50}, last{0xd0}, low{0x41};

auto isr_vectors() -> unsigned {
    unsigned n{};
    for (unsigned v{16}; v != 256; ++v)
        n += lapic::bit(lapic::isr, v) ? 1 : 0;
    return n;
}

void nest(frame& f) {
    auto const vector = static_cast<unsigned>(f.vector);
    auto const depth = (vector - first) / 0x10 + 1;
    expect_equal(lapic::read(lapic::ppr), vector & 0xf0, "PPR in a handler");
    expect(lapic::bit(lapic::isr, vector) and not lapic::bit(lapic::irr, vector), "the vector is in service");
    expect_equal(isr_vectors(), depth, "one vector in service a handler");
    sti();
    if (vector != last) {
        lapic::send(0x40000 | (vector + 0x10));
        wait_ms(1);
        expect_equal(count_of(vector + 0x10), 1, "a higher class interrupts");
        expect_equal(lapic::read(lapic::ppr), vector & 0xf0, "PPR behind the handler of a higher class");
    }
    lapic::send(0x40000 | low);
    lapic::send(0x40000 | (vector + 1)); // its own class waits, too
    wait_ms(1);
    expect_equal(count_of(low), 0, "a lower class waits");
    expect_equal(count_of(vector + 1), 0, "the own class waits");
    expect(lapic::bit(lapic::irr, low), "and is requested");
    cli();
    lapic::end();
    expect_equal(isr_vectors(), depth - 1, "EOI ends the highest");
    sti();
    wait_ms(1);
    expect_equal(count_of(vector + 1), 1, "behind EOI the own class is next");
    cli();
}
} // namespace

void payload::run() {
    lapic::enable();
    set_handler(low, lapic::acknowledge);
    for (unsigned v{first}; v <= last; v += 0x10) {
        set_handler(v, nest);
        set_handler(v + 1, lapic::acknowledge);
    }
    lapic::send(0x40000 | first);
    sti();
    expect(wait_until(1000, [] { return count_of(low) != 0; }), "the lowest comes last");
    wait_ms(1);
    cli();
    for (unsigned v{first}; v <= last; v += 0x10)
        expect_equal(count_of(v), 1, "each class once");
    expect_equal(count_of(low), 1, "the lowest once");
    expect_equal(isr_vectors(), 0, "nothing is in service");
    expect_equal(lapic::read(lapic::ppr), 0, "PPR without an interrupt");
}
