// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// storm: yes
// judges: An NMI for all others comes to each exactly once: running or halted, with interrupts on or off.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u8 vector_of_all{0x52};

enum class way : u32 { running, running_masked, halted, halted_masked, in_handler, ways };

/// Those that halt give their processor of the host to others at once.
constexpr auto rounds_of(way how) -> u32 {
    return how == way::halted or how == way::halted_masked ? 60 : 12;
}

shared_count ready, taken[most_processors], told[most_processors];
constexpr u32 idle{100}, over{101};
shared_count phase; // the way that the others are, or one of these

void on_nmi(frame& f) {
    taken[own_number()].add();
    end_nmi_sleep(f);
}

void be(way how, u32 now) {
    auto const me = own_number();
    while (phase.get() == now) {
        auto const seen = taken[me].get();
        switch (how) {
        case way::running:
            sti();
            pause();
            break;
        case way::running_masked:
            cli();
            (void)cpuid(0); // an exit: in Bochs a stay that began with interrupts off ends by nothing else
            pause();
            break;
        case way::halted:
            asm volatile("sti; hlt");
            break;
        case way::halted_masked:
            nmi_sleep(&taken[me], seen);
            break;
        default: // another interrupt's handler
            asm volatile("sti; int $0x53");
            break;
        }
        told[me].add();
    }
    sti();
}

void on_software(frame&) {
    sti();
    for (unsigned i{}; i != 10; ++i)
        pause();
}

void other() {
    lapic::enable();
    ready.add();
    for (u32 seen{idle}; seen != over;) {
        auto const now = phase.get();
        if (now == seen or now == idle) {
            pause();
            continue;
        }
        seen = now;
        ready.add();
        if (now != over)
            be(static_cast<way>(now), now);
    }
}

} // namespace

void payload::run() {
    lapic::enable();
    set_handler(vector::nmi, on_nmi);
    set_handler(0x53, on_software);
    set_handler(vector_of_all, lapic::acknowledge);
    auto const others = processor_count() - 1;
    phase.set(idle);
    sti();
    if (not start_all(other, ready))
        return;
    u32 sent{}, expected_ready{others};
    for (u32 how{}; how != static_cast<u32>(way::ways); ++how) {
        phase.set(how);
        expected_ready += others;
        if (not ready.reaches(expected_ready))
            return fail("not all come to the next part");
        for (u32 i{}; i != rounds_of(static_cast<way>(how)); ++i) {
            lapic::send(ipi::nmi | ipi::to_others);
            ++sent;
            for (u32 id{1}; id <= others; ++id)
                if (not taken[id].reaches(sent)) {
                    print("way ");
                    print_decimal(how);
                    print(", processor ");
                    print_decimal(id);
                    print(": ");
                    return expect_equal(taken[id].get(), sent, "an NMI is lost");
                }
        }
        pass(2);
        for (u32 id{1}; id <= others; ++id)
            expect_equal(taken[id].get(), sent, "NMIs of a processor");
        expect_equal(taken[0].get(), 0, "NMIs of the one that sends");
        phase.set(idle); // whoever sleeps is woken by one more, of both kinds
        lapic::send(ipi::nmi | ipi::to_others);
        ++sent;
        for (u32 id{1}; id <= others; ++id)
            (void)taken[id].reaches(sent);
        lapic::send(ipi::fixed | ipi::to_others | vector_of_all);
        pass(2);
    }
    phase.set(over);
    expect(ready.reaches(expected_ready + others), "all come to the end");
}
