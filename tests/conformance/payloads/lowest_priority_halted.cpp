// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// judges: lowest priority counts what CR8 holds, of the sender and of those that halt, by each form of destination.
// reference: no, QEMU takes no notice of priorities, and has no x2APIC.
#include "processors.hpp"

using namespace payload;
using namespace payload::either_apic;

namespace {

constexpr u8 vector_sent{0xe1}, vector_of_order{0xf1};

enum class model : u32 { flat, clusters, x2apic };
model volatile wanted;
model now[most_processors]; // of each its own
u32 priorities[most_processors];
shared_count ready, ordered, obeyed, taken[most_processors];

void on_sent(frame&) {
    taken[own_number()].add();
    write(lapic::eoi, 0);
}
void on_order(frame&) {
    write(lapic::eoi, 0);
}

void obey() {
    auto const me = own_number();
    if (now[me] != wanted) {
        now[me] = wanted;
        is_x2apic[me] = wanted == model::x2apic;
        if (wanted == model::x2apic)
            wrmsr(lapic::base_msr, rdmsr(lapic::base_msr) | 0xc00);
        else
            lapic::write(lapic::dfr, wanted == model::flat ? 0xffffffff : 0x0fffffff);
    }
    if (not is_x2apic[me])
        lapic::write(lapic::ldr, (wanted == model::flat ? 1u << me : me / 4 << 4 | 1u << me % 4) << 24);
    write_cr8(priorities[me]); // behind all accesses to the APIC
}
void other() {
    lapic::enable();
    ready.add();
    for (u32 seen{};;) {
        asm volatile("sti; hlt; cli");
        if (auto const n = ordered.get(); n != seen) {
            seen = n;
            obey();
            obeyed.add();
        }
    }
}
void order_all() {
    auto const others = processor_count() - 1;
    auto const goal = obeyed.get() + others;
    ordered.add();
    send(ipi::fixed | ipi::to_others | vector_of_order, 0);
    obey();
    if (not obeyed.reaches(goal))
        fail("not all obey");
    pass(1); // to their HLT
}

void expect_winner(u32 winner, u32 form, u32 destination, char const* what) {
    u32 before[most_processors];
    for (u32 id{}; id != processor_count(); ++id)
        before[id] = taken[id].get();
    send(ipi::lowest_priority | form | vector_sent, destination);
    if (not taken[winner].reaches(before[winner] + 1, 300))
        fail(what);
    pass(1);
    for (u32 id{}; id != processor_count(); ++id)
        expect_equal(taken[id].get(), before[id] + (id == winner ? 1 : 0), what);
}

} // namespace

void payload::run() {
    lapic::enable();
    set_handler(vector_sent, once<on_sent>);
    set_handler(vector_of_order, on_order);
    auto const n = processor_count(), all = (1u << n) - 1;
    sti();
    if (not start_all(other, ready))
        return;
    pass(1);
    auto const models = (cpuid(1).ecx >> 21 & 1) != 0 ? 3u : 2u;
    for (u32 m{}; m != models; ++m) {
        wanted = static_cast<model>(m);
        for (u32 winner{}; winner != n; ++winner) {
            for (u32 id{}; id != n; ++id)
                priorities[id] = 1 + (id + n - winner) % n;
            order_all();
            auto const of_others = winner == 0 ? 1 : winner;
            switch (wanted) {
            case model::flat:
                expect_winner(winner, ipi::logical, all, "a flat destination");
                expect_winner(winner, ipi::logical, 0xff, "all of the flat model");
                expect_winner(winner, 0, 0xff, "all, physical");
                expect_winner(winner, ipi::to_all, 0, "all, by shorthand");
                expect_winner(of_others, ipi::to_others, 0, "all others, by shorthand");
                break;
            case model::clusters:
                expect_winner(winner, ipi::logical, winner / 4 << 4 | 0xf, "a cluster");
                expect_winner(winner, ipi::logical, 0xff, "all clusters");
                break;
            default:
                expect_winner(winner, ipi::logical, all, "a cluster of x2APICs");
                expect_winner(winner, ipi::logical, ~0u, "all clusters of x2APICs");
                expect_winner(winner, 0, ~0u, "all x2APICs, physical");
                expect_winner(of_others, ipi::to_others, 0, "all other x2APICs, by shorthand");
            }
        }
    }
}
