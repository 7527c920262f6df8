// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// storm: yes
// judges: STI; HLT never sleeps over an IPI, at whatever instruction that arrives.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 rounds{2500};
constexpr u8 vector_of_ping{0x61};

shared_count ready, go, done, pings[most_processors];
u32 volatile at_round[most_processors];

void on_ping(frame&) {
    pings[own_number()].add();
    lapic::end();
}

/// A number of instructions that differs from round to round.
void linger(u32 n) {
    for (u32 i{}; i != n; ++i)
        asm volatile("nop");
}

/// Sleeps until `count` comes to `n`. Interrupts are on from behind STI only, so none is lost before HLT.
void sleep_until(shared_count const& count, u32 n) {
    while (true) {
        cli();
        if (count.get() >= n)
            break;
        asm volatile("sti; hlt; cli" ::: "memory");
    }
    sti();
}

/// Wakes the partner, and sleeps until that wakes this one. The first of the two begins.
void play(u32 partner, bool begins) {
    auto const me = own_number();
    for (u32 i{}; i != rounds; ++i) {
        if (not begins)
            sleep_until(pings[me], i + 1);
        linger((i * 7 + me * 3) % 61);
        lapic::send(ipi::fixed | vector_of_ping, partner);
        linger(i % 5);
        if (begins)
            sleep_until(pings[me], i + 1);
        at_round[me] = i + 1;
    }
    done.add();
    while (true)
        asm volatile("sti; hlt");
}

void other() {
    lapic::enable();
    ready.add();
    while (go.get() == 0)
        pause();
    auto const me = own_number();
    auto const last = processor_count() - 1;
    if (me == last) // the partner of the first, which only looks
        play(0, false);
    play(me % 2 == 1 ? me + 1 : me - 1, me % 2 == 1);
}

} // namespace

void payload::run() {
    lapic::enable();
    set_handler(vector_of_ping, once<on_ping>);
    sti();
    if (not start_all(other, ready))
        return;
    auto const last = processor_count() - 1;
    go.set(1);
    sti();
    for (u32 i{}; i != rounds; ++i) {
        lapic::send(ipi::fixed | vector_of_ping, last);
        linger(i % 67);
        if (not pings[0].reaches(i + 1)) {
            fail("the last processor sleeps over an IPI");
            break;
        }
    }
    for (u32 seen{}; done.get() != last;) { // until nothing moves any more
        u32 now{};
        pass(200);
        for (u32 id{1}; id <= last; ++id)
            now += at_round[id];
        if (now == seen)
            break;
        seen = now;
    }
    for (u32 id{1}; id <= last; ++id)
        if (at_round[id] != rounds) {
            print("processor ");
            print_decimal(id);
            print(" sleeps in round ");
            print_decimal(at_round[id]);
            print(": ");
            expect_equal(pings[id].get(), at_round[id], "IPIs that it took");
            fail("a processor sleeps over an IPI");
        }
}
