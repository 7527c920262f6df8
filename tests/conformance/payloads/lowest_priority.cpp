// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// storm: yes
// judges: A lowest-priority IPI comes to the one of those it names with the least priority and its APIC on.
// reference: no, QEMU takes no notice of priorities.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u8 vector_of_least{0xe1}, vector_of_busy{0x91};

shared_count ready, taken[most_processors], in_service, let_go;

/// What a processor shall do with its own APIC, and how often it has done so.
struct order {
    u32 task_priority;
    bool enabled;
};
order orders[most_processors];
shared_count ordered, obeyed;

void obey() {
    auto const& mine = orders[own_number()];
    lapic::write(lapic::svr, mine.enabled ? 0x1ff : 0xff);
    lapic::write(lapic::tpr, mine.task_priority);
    lapic::write(lapic::ldr, 1u << (24 + own_number())); // INIT cleared it
}

void on_least(frame&) {
    taken[own_number()].add();
    lapic::end();
}
/// Stays in service until it is let go.
void on_busy(frame&) {
    in_service.add();
    sti();
    while (let_go.get() == 0)
        pause();
    cli();
    lapic::end();
}

void other() {
    u32 seen{};
    lapic::enable();
    sti();
    ready.add();
    while (true) {
        pause();
        if (ordered.get() != seen) {
            seen = ordered.get();
            obey();
            obeyed.add();
        }
    }
}

/// Makes all obey their orders.
void give_orders() {
    auto const others = processor_count() - 1;
    auto const wanted = obeyed.get() + others;
    ordered.add();
    obey();
    if (not obeyed.reaches(wanted))
        fail("not all obey");
}

auto all() -> u32 {
    return (1u << processor_count()) - 1;
}
void send_to(u32 set) {
    lapic::send(ipi::lowest_priority | ipi::logical | vector_of_least, set);
}

/// Expects one more interrupt, at `winner`.
void expect_winner(u32 winner, char const* what) {
    u32 before[most_processors];
    for (u32 id{}; id != processor_count(); ++id)
        before[id] = taken[id].get();
    send_to(all());
    if (not taken[winner].reaches(before[winner] + 1, 300))
        fail(what);
    pass(1);
    for (u32 id{}; id != processor_count(); ++id)
        expect_equal(taken[id].get(), before[id] + (id == winner ? 1 : 0), what);
}
auto sum() -> u32 {
    u32 n{};
    for (auto const& one : taken)
        n += one.get();
    return n;
}

} // namespace

void payload::run() {
    auto const n = processor_count();
    set_handler(vector_of_least, once<on_least>);
    set_handler(vector_of_busy, once<on_busy>);
    for (auto& o : orders)
        o = {0, true};
    lapic::enable();
    sti();
    if (not start_all(other, ready))
        return;

    // Each in turn has the least, the others rise with the distance.
    for (u32 winner{}; winner != n; ++winner) {
        for (u32 id{}; id != n; ++id)
            orders[id].task_priority = 0x10 * ((id + n - winner) % n + 1);
        give_orders();
        expect_winner(winner, "the least task priority wins");
        for (u32 id{}; id != n; ++id)
            orders[id].task_priority = 0x10 * ((winner + n - id) % n + 1);
        give_orders();
        expect_winner(winner, "the least task priority wins, in either order");
    }

    // The one that would win is software-disabled: it takes none, the next does.
    for (u32 winner{}; winner != n; ++winner) {
        for (u32 id{}; id != n; ++id)
            orders[id] = {0x10 * ((id + n - winner) % n + 1), id != winner};
        give_orders();
        expect_winner((winner + 1) % n, "a software-disabled APIC takes none");
    }
    for (auto& o : orders)
        o.enabled = false;
    give_orders();
    auto const before = sum();
    send_to(all());
    pass(1);
    expect_equal(sum(), before, "nobody takes it where all are disabled");

    // Equal priorities: one of them, and only one.
    for (auto& o : orders)
        o = {0x20, true};
    give_orders();
    for (u32 round{1}; round != 101; ++round) {
        send_to(all());
        expect(wait_for(300, [=] { return sum() >= before + round; }), "one of equals takes it");
    }
    pass(1);
    expect_equal(sum(), before + 100, "only one of equals takes it");
    send_to(2);
    expect(wait_for(300, [=] { return sum() == before + 101; }), "a set of one");

    // A vector in service counts like a task priority.
    for (u32 id{}; id != n; ++id)
        orders[id].task_priority = id == 1 ? 0 : 0x50;
    give_orders();
    lapic::send(ipi::fixed | vector_of_busy, 1);
    expect(in_service.reaches(1), "the second serves an interrupt");
    auto const of_second = taken[1].get(), of_all = sum();
    send_to(3);
    expect(wait_for(300, [=] { return sum() == of_all + 1; }), "one of two takes it");
    expect_equal(taken[1].get(), of_second, "the one that serves an interrupt above the other's task priority loses");
    let_go.set(1);
}
