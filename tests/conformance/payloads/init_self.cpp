// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// storm: yes
// judges: A processor that sends itself INIT, by a number or set, goes no further until a start-up IPI comes.
// reference: no, QEMU lets it go on until it hands over to another processor.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 rounds{40};

shared_count started[most_processors], beyond, over;
u32 volatile how[most_processors];

void other() {
    auto const me = own_number();
    lapic::enable();
    lapic::write(lapic::ldr, 1u << (24 + me));
    auto const by = how[me];
    started[me].add();
    if (by == 3) {
        over.add();
        while (true)
            asm volatile("cli; hlt");
    }
    if (by == 0)
        lapic::send(ipi::init, me);
    else if (by == 1)
        lapic::send(ipi::init | ipi::logical, 1u << me);
    else { // to a cluster that it is alone in
        lapic::write(lapic::dfr, 0x0fffffff);
        lapic::write(lapic::ldr, (me << 4 | 1) << 24);
        lapic::send(ipi::init | ipi::logical, me << 4 | 1);
    }
    beyond.add(); // nothing behind the instruction that sends it
    while (true)
        pause();
}

} // namespace

void payload::run() {
    lapic::enable();
    sti();
    auto const n = processor_count();
    place_start_up_code();
    for (auto& program : processor_programs)
        program = other;
    lapic::send(ipi::init | ipi::to_others);
    pass(1);
    for (u32 i{}; i != rounds; ++i)
        for (u32 id{1}; id != n; ++id) {
            how[id] = i + 1 == rounds ? 3 : i % 3;
            auto const before = started[id].get();
            if (i % 2 == 0)
                pass(1);
            // The start-up IPI may come before the INIT: then it is ignored, and the next one counts.
            if (not wait_for(3000, [=] {
                    lapic::send(ipi::start_up | start_up_page, id);
                    for (u32 k{}; k != 20; ++k)
                        pause();
                    return started[id].get() != before;
                })) {
                return fail("it does not start again");
            }
        }
    expect(over.reaches(n - 1), "all come to the end");
    expect_equal(beyond.get(), 0, "instructions behind an INIT to oneself");
}
