// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// storm: yes
// judges: No IPI is lost to those whose destinations stay, whatever forms all send while others change theirs.
// reference: no, QEMU has no x2APIC.
#include "processors.hpp"

using namespace payload;
using namespace payload::either_apic;

namespace {

constexpr u32 rounds{120};
constexpr u8 first_vector{0x60}; // and the sender's number

/// How all APICs are addressed, and what the changing ones do.
enum class phase : u32 { flat, cluster, x2apic, switching, phases };

shared_count ready, finished, phase_now;
u32 received[most_processors][most_processors]; // by receiver and sender

/// The upper half, but one in any case, changes while the others send.
auto changes(u32 id) -> bool {
    return id >= (processor_count() + 1) / 2;
}

void on_ipi(frame& f) {
    auto const me = own_number();
    auto& count = received[me][f.vector - first_vector];
    __atomic_store_n(&count, count + 1, __ATOMIC_SEQ_CST);
    write(lapic::eoi, 0);
}

auto logical_of(phase now, u32 id) -> u32 {
    return now == phase::cluster ? (id / 4) << 4 | 1u << (id % 4) : 1u << id;
}
auto has_x2apic() -> bool {
    return (cpuid(1).ecx >> 21 & 1) != 0;
}

void join(phase now) {
    auto const me = own_number();
    cli();
    if (now == phase::x2apic) {
        wrmsr(lapic::base_msr, rdmsr(lapic::base_msr) | 1u << 10);
        is_x2apic[me] = true;
    } else {
        if (is_x2apic[me]) {
            wrmsr(lapic::base_msr, rdmsr(lapic::base_msr) & ~(u64{3} << 10));
            wrmsr(lapic::base_msr, rdmsr(lapic::base_msr) | 1u << 11);
        }
        is_x2apic[me] = false;
    }
    write(lapic::svr, 0x1ff);
    write(lapic::tpr, 0);
    if (now != phase::x2apic) {
        write(lapic::dfr, now == phase::cluster ? 0x0fffffff : 0xffffffff);
        write(lapic::ldr, logical_of(now, me) << 24);
    }
    sti();
}

/// Sends to a set in one of its forms; answers who must take it.
auto send_some(phase now, u32 round) -> u32 {
    auto const me = own_number(), n = processor_count();
    auto const all = (1u << n) - 1, mine = 1u << me;
    u32 const vector{first_vector + me};
    auto const to = (me + 1 + round / 4) % n;
    switch (round % 4) {
    case 0: // physical
        send(ipi::fixed | vector, to);
        return 1u << to;
    case 1: { // logical, one or some
        if (now == phase::cluster) {
            auto const cluster = to / 4;
            send(ipi::fixed | ipi::logical | vector, cluster << 4 | 0xf);
            return all & 0xfu << (cluster * 4);
        }
        auto const set = all & ((1u << to) | (round * 37));
        send(ipi::fixed | ipi::logical | vector, set); // flat; and in x2APIC mode all of ours are cluster 0
        return set;
    }
    case 2:
        send(ipi::fixed | ipi::to_others | vector, 0);
        return all & ~mine;
    default:
        send(ipi::fixed | (round % 8 == 3 ? ipi::to_all : ipi::to_self) | vector, 0);
        return round % 8 == 3 ? all : mine;
    }
}

auto count_of_pair(u32 to, u32 from) -> u32 {
    return __atomic_load_n(&received[to][from], __ATOMIC_SEQ_CST);
}

/// The first thing that went wrong; the first processor tells it.
struct fault {
    char const* what;
    u32 during, round, from, to, got, wanted;
};
fault first;
shared_count faults;
void note(fault const& f) {
    if (faults.add() == 1)
        first = f;
}

/// Sends, and waits for those whose destinations stay. By each processor at the same time.
void storm(phase now) {
    auto const me = own_number(), n = processor_count();
    for (u32 i{}; i != rounds and faults.get() == 0; ++i) {
        u32 before[most_processors];
        for (u32 id{}; id != n; ++id)
            before[id] = count_of_pair(id, me);
        auto const set = send_some(now, i);
        // Who changes its logical destination only is still found by its id and by shorthands.
        bool const by_id{i % 4 != 1 and (now == phase::flat or now == phase::cluster)};
        auto const must = [&](u32 id) { return (set >> id & 1) != 0 and (by_id or not changes(id)); };
        auto const judge = [&](u32 id, char const* what) {
            if (auto const got = count_of_pair(id, me); must(id) and got != before[id] + 1)
                note({what, static_cast<u32>(now), i, me, id, got, before[id] + 1});
        };
        for (u32 id{}; id != n; ++id)
            if (must(id) and
                not wait_for(3000, [&] { return count_of_pair(id, me) != before[id] or faults.get() != 0; }))
                judge(id, "an IPI is lost");
        for (u32 id{}; id != n; ++id)
            if (not changes(id)) // else one of an earlier round may have come late
                judge(id, "an IPI came twice");
    }
}

/// Moves this processor's own destination about, until the others are through. It ends as it began.
void change(phase now) {
    auto const me = own_number();
    for (u32 i{}; finished.get() < (static_cast<u32>(now) + 1) * ((processor_count() + 1) / 2); ++i) {
        pause();
        switch (now) {
        case phase::flat:
        case phase::cluster: // at times under the name of others, or nobody
            write(lapic::ldr, (i % 3 == 0 ? logical_of(now, 0) : i % 3 == 1 ? 0 : logical_of(now, me)) << 24);
            if (i % 5 == 0)
                write(lapic::dfr, now == phase::cluster ? 0xffffffff : 0x0fffffff);
            write(lapic::dfr, now == phase::cluster ? 0x0fffffff : 0xffffffff);
            break;
        case phase::x2apic: // it goes away for a while
            write(lapic::svr, 0xff);
            write(lapic::svr, 0x1ff);
            break;
        default:
            join(i % 2 == 0 and has_x2apic() ? phase::x2apic : phase::flat);
        }
    }
}

void take_part() {
    u32 seen{};
    while (seen != static_cast<u32>(phase::phases)) {
        while (phase_now.get() == seen)
            pause();
        seen = phase_now.get();
        auto const now = static_cast<phase>(seen - 1);
        join(now == phase::x2apic and not has_x2apic() ? phase::flat : now);
        ready.add();
        (void)ready.reaches(seen * processor_count(), 20000);
        if (changes(own_number())) {
            change(now);
        } else {
            storm(now);
            finished.add();
        }
    }
}

shared_count here, over;
void other() {
    lapic::enable();
    sti();
    here.add();
    take_part();
    over.add();
    while (true) // others may still send
        asm volatile("sti; hlt");
}

} // namespace

void payload::run() {
    lapic::enable();
    for (unsigned id{}; id != most_processors; ++id)
        set_handler(first_vector + id, once<on_ipi>);
    sti();
    if (not start_all(other, here))
        return;
    auto const senders = (processor_count() + 1) / 2;
    // The first processor takes part as the others do, and begins each phase when all senders are through the last.
    for (u32 p{1}; p <= static_cast<u32>(phase::phases); ++p) {
        phase_now.set(p);
        auto const now = static_cast<phase>(p - 1);
        join(now == phase::x2apic and not has_x2apic() ? phase::flat : now);
        ready.add();
        if (not ready.reaches(p * processor_count(), 20000))
            return fail("not all come to a phase");
        storm(now);
        finished.add();
        if (not finished.reaches(p * senders, 60000))
            return fail("not all come through a phase");
        pass(1); // those that change end as they began
    }
    expect(over.reaches(processor_count() - 1, 20000), "all come to the end");
    if (faults.get() != 0) {
        print("phase ");
        print_decimal(first.during);
        print(", round ");
        print_decimal(first.round);
        print(", from ");
        print_decimal(first.from);
        print(" to ");
        print_decimal(first.to);
        print(": ");
        expect_equal(first.got, first.wanted, first.what);
    }
}
