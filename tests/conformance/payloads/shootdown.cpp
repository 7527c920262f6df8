// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// storm: yes
// judges: Once all processors acknowledged a shoot-down, none uses the old translation again.
#include "processors.hpp"

// Emulators of SVM and VMX drop all translations where worlds are switched, and an IPI switches: without the drops in
// the handler only the run without hypervisor fails.

using namespace payload;

namespace {

constexpr u32 rounds{240};
constexpr u8 vector_of_shoot_down{0x62};
constexpr u64 window{0x10000000}; // 256 MiB: no memory is there, pages are put there

/// How a processor drops the translation, in turn.
enum class way : u32 { invlpg, cr3, global_pages, ways };

alignas(4096) u64 volatile pages[2][512];
shared_count ready, acknowledged, looks[most_processors], round_now, over;
u32 volatile seen_round[most_processors]; // that this processor has acknowledged

struct stale {
    u64 value;
    u32 round, processor;
};
shared_count failures;
stale first;

void drop(way how) {
    switch (how) {
    case way::invlpg:
        invlpg(window);
        break;
    case way::cr3:
        write_cr3(read_cr3());
        break;
    default:
        constexpr u64 global{1u << 7};
        write_cr4(read_cr4() ^ global);
        write_cr4(read_cr4() ^ global);
    }
}

auto way_of(u32 round) -> way {
    return static_cast<way>(round % static_cast<u32>(way::ways));
}

void on_shoot_down(frame&) {
    auto const round = round_now.get();
    drop(way_of(round));
    seen_round[own_number()] = round;
    acknowledged.add();
    lapic::end();
}

/// What stands in the window is the number of the round that put it there.
void look() {
    auto const me = own_number();
    auto const at_least = seen_round[me];
    auto const value = *reinterpret_cast<u64 volatile*>(window);
    if (value < at_least and failures.add() == 1)
        first = {value, at_least, me};
    looks[me].add();
}

void other() {
    lapic::enable();
    sti();
    ready.add();
    while (over.get() == 0) {
        look();
        if (looks[own_number()].get() % 8 == 0)
            pause();
    }
}

void put(u64 page, u32 round) {
    constexpr u64 global{0x100};
    entry_of(window) = reinterpret_cast<u64>(pages[page]) | page::present | page::writable | page::accessed |
                       page::dirty | (way_of(round + 1) == way::global_pages ? global : 0);
}

} // namespace

void payload::run() {
    lapic::enable();
    set_handler(vector_of_shoot_down, once<on_shoot_down>);
    auto const others = processor_count() - 1;
    put(0, 0);
    invlpg(window);
    if (not start_all(other, ready))
        return;
    for (u32 round{1}; round != rounds + 1 and failures.get() == 0; ++round) {
        // A page that nobody may see until the entry names it; then a shoot-down; then, all have looked again.
        pages[round & 1][0] = round;
        put(round & 1, round);
        drop(way_of(round));
        round_now.set(round);
        acknowledged.set(0);
        lapic::send(ipi::fixed | ipi::to_others | vector_of_shoot_down);
        if (not acknowledged.reaches(others))
            return fail("a processor does not acknowledge");
        u32 before[most_processors];
        for (u32 id{1}; id <= others; ++id)
            before[id] = looks[id].get();
        look();
        for (u32 id{1}; id <= others; ++id)
            if (not looks[id].reaches(before[id] + 2))
                return fail("a processor hangs");
    }
    over.set(1);
    expect_equal(failures.get(), 0, "looks through an old translation");
    if (failures.get() != 0) {
        print("processor ");
        print_decimal(first.processor);
        print(" saw round ");
        print_decimal(first.value);
        print(" after it acknowledged ");
        print_decimal(first.round);
        print("\n");
    }
}
