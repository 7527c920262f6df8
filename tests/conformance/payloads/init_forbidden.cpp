// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// judges: INIT and start-up IPIs to oneself or to all with oneself, which no processor may send, do nothing.
// reference: no, QEMU sends them.
#include "probe.hpp"

using namespace payload;

namespace {

constexpr u8 vector_of_ping{0x72}, spot{0x20};

shared_count ready, pings[most_processors];

void on_ping(frame&) {
    pings[own_number()].add();
    lapic::end();
}
void other() {
    lapic::enable();
    sti();
    ready.add();
    while (true)
        asm volatile("sti; hlt");
}

void expect_all_alive(char const* what) {
    u32 before[most_processors];
    for (u32 id{}; id != processor_count(); ++id)
        before[id] = pings[id].get();
    lapic::send(ipi::fixed | ipi::to_all | vector_of_ping);
    for (u32 id{}; id != processor_count(); ++id)
        expect(pings[id].reaches(before[id] + 1, 300), what);
    expect_equal(ready.get(), processor_count() - 1, what);
    expect_equal(probe_at(spot).entered, 0, what);
}

} // namespace

void payload::run() {
    lapic::enable();
    place_probe(spot);
    set_handler(vector_of_ping, once<on_ping>);
    if (not start_all(other, ready))
        return;
    sti();
    expect_all_alive("before");
    constexpr u32 forms[]{ipi::to_self, ipi::to_all};
    for (auto const form : forms) {
        lapic::send(ipi::init | form);
        pass(1);
        expect_all_alive("INIT that goes to its sender");
        lapic::send(ipi::start_up | form | spot);
        pass(1);
        expect_all_alive("a start-up IPI that goes to its sender");
    }
    lapic::send(ipi::start_up | spot, 0); // it runs
    pass(1);
    expect_all_alive("a start-up IPI to oneself by number");
}
