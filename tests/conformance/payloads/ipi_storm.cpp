// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// storm: yes
// judges: No IPI of any destination form is lost between processors, halted, running or sending themselves.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr unsigned rounds{300};
constexpr u8 vector_of_one{0x51}, vector_of_all{0x52}, vector_of_ring{0x53}, vector_of_least{0x54};

shared_count ready, least, nmis, ring_done;
shared_count ones[most_processors], alls[most_processors], rings[most_processors];
shared_count phase; // 1: halt between interrupts, 2: spin, 3: send around the ring, 4: over

void on_one(frame&) {
    ones[lapic::own_id()].add();
    lapic::end();
}
void on_all(frame&) {
    alls[lapic::own_id()].add();
    lapic::end();
}
void on_ring(frame&) {
    rings[lapic::own_id()].add();
    lapic::end();
}
void on_least(frame&) {
    least.add();
    lapic::end();
}
void on_nmi(frame&) {
    nmis.add();
}

/// To the next processor, each time the one before was taken.
void send_around() {
    auto const me = lapic::own_id(), next = (me + 1) % processor_count();
    for (unsigned i{}; i != rounds; ++i) {
        lapic::send(0x4000 | vector_of_ring, next);
        if (not rings[next].reaches(i + 1))
            break;
    }
    ring_done.add();
}

void join() {
    lapic::enable();
    lapic::write(lapic::dfr, 0xffffffff);
    lapic::write(lapic::ldr, 1u << (24 + lapic::own_id()));
}

void other() {
    join();
    sti();
    ready.add();
    while (phase.get() == 0)
        asm volatile("pause");
    while (phase.get() == 1)
        asm volatile("sti; hlt");
    while (phase.get() == 2)
        asm volatile("pause");
    send_around();
    while (phase.get() != 4)
        asm volatile("pause");
}

/// One after the other to each, then to all others, by all forms that mean the same.
void send_to_each(char const* how) {
    static unsigned sent_one, sent_all;
    auto const processors = processor_count();
    auto const all = (1u << processors) - 1;
    for (unsigned i{}; i != rounds; ++i) {
        ++sent_one;
        for (u32 to{1}; to != processors; ++to)
            if (i % 2 == 0)
                lapic::send(0x4000 | vector_of_one, to); // physical
            else
                lapic::send(0x4800 | vector_of_one, 1u << to); // logical, flat
        for (u32 to{1}; to != processors; ++to)
            if (not ones[to].reaches(sent_one))
                return fail(how);
        ++sent_all;
        if (i % 2 == 0)
            lapic::send(0xc4000 | vector_of_all); // all but this one
        else
            lapic::send(0x4800 | vector_of_all, 0xfe & all); // logical, all others at once
        for (u32 to{1}; to != processors; ++to)
            if (not alls[to].reaches(sent_all))
                return fail(how);
    }
    for (u32 to{1}; to != processors; ++to) {
        expect_equal(ones[to].get(), sent_one, "each came once");
        expect_equal(alls[to].get(), sent_all, "each broadcast came once");
    }
}

} // namespace

void payload::run() {
    auto const processors = processor_count();
    auto const all = (1u << processors) - 1;
    set_handler(vector_of_one, once<on_one>);
    set_handler(vector_of_all, once<on_all>);
    set_handler(vector_of_ring, once<on_ring>);
    set_handler(vector_of_least, once<on_least>);
    set_handler(vector::nmi, on_nmi);
    join();
    sti();
    if (not start_all(other, ready))
        return;
    phase.set(1);
    send_to_each("an IPI to a halted processor is lost");
    phase.set(2);
    lapic::send(0xc4000 | vector_of_all); // out of the last HLT
    for (u32 to{1}; to != processors; ++to)
        (void)alls[to].reaches(rounds + 1);
    for (unsigned i{}; i != rounds; ++i) {
        lapic::send(0x4900 | vector_of_least, all); // lowest priority, one of all
        if (not least.reaches(i + 1))
            return fail("a lowest-priority IPI is lost");
    }
    pass(5);
    expect_equal(least.get(), rounds, "each lowest-priority IPI came to one");
    for (unsigned i{}; i != 20; ++i) {
        lapic::send(0xc4400); // NMI to all others
        if (not nmis.reaches((i + 1) * (processors - 1)))
            return fail("an NMI is lost");
    }
    phase.set(3);
    send_around();
    expect(ring_done.reaches(processors, 20000), "all sent around the ring");
    for (u32 id{}; id != processors; ++id)
        expect_equal(rings[id].get(), rounds, "each of the ring came once");
    phase.set(4);
}
