// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// storm: yes
// judges: A machine whose processors wake each other by NMIs out of HLT with interrupts off is never taken for halted.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 handovers{1500};

shared_count ready, nmis[most_processors], done;

void on_nmi(frame& f) {
    nmis[own_number()].add();
    end_nmi_sleep(f);
}

/// Sleeps until it is its turn, wakes the next, and sleeps again at once: then all sleep but the one that wakes.
void take_turns() {
    auto const me = own_number(), n = processor_count();
    for (u32 turn{me}; turn < handovers; turn += n) {
        auto const before = turn / n;
        while (turn != 0 and nmis[me].get() <= before - (me == 0 ? 1 : 0))
            nmi_sleep(&nmis[me], nmis[me].get());
        done.add();
        lapic::send(ipi::nmi, (me + 1) % n);
    }
}

void other() {
    ready.add();
    take_turns();
}

} // namespace

void payload::run() {
    set_handler(vector::nmi, on_nmi);
    lapic::enable();
    if (not start_all(other, ready))
        return;
    take_turns();
    (void)done.reaches(handovers);
    expect_equal(done.get(), handovers, "turns");
}
