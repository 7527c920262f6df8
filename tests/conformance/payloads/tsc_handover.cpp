// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// storm: yes
// judges: A TSC value that another processor read before is never above the next one that this processor reads.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 laps{50}, shows{4000};

shared_count ready, done, turn; // the number of handovers so far
u64 handed;
u64 latest; // of all processors
shared_count phase;

struct backwards {
    u64 before, after;
    u32 receiver, round;
};
shared_count failures;
backwards first;

void judge(u64 before, u64 after, u32 round) {
    if (after >= before)
        return;
    if (failures.add() == 1)
        first = {before, after, own_number(), round};
}

/// From each to the next, in a circle.
void hand_around() {
    auto const me = own_number(), n = processor_count();
    for (u32 lap{}; lap != laps; ++lap) {
        auto const mine = lap * n + me;
        if (not turn.reaches(mine))
            return;
        auto const before = __atomic_load_n(&handed, __ATOMIC_ACQUIRE);
        auto const now = rdtsc();
        judge(before, now, mine);
        __atomic_store_n(&handed, rdtsc(), __ATOMIC_RELEASE);
        turn.add();
    }
}

/// Each shows all the highest it has read, and all compare.
void show_the_latest() {
    for (u32 round{}; round != shows; ++round) {
        auto seen = __atomic_load_n(&latest, __ATOMIC_SEQ_CST);
        auto const now = rdtsc();
        judge(seen, now, round);
        while (seen < now and
               not __atomic_compare_exchange_n(&latest, &seen, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        if (round % 16 == 0)
            pause();
    }
}

void part() {
    hand_around();
    show_the_latest();
    done.add();
}

void other() {
    ready.add();
    (void)phase.reaches(1);
    part();
}

} // namespace

void payload::run() {
    if (not start_all(other, ready))
        return;
    phase.set(1);
    part();
    expect(done.reaches(processor_count(), 20000), "all processors come to the end");
    expect_equal(turn.get(), laps * processor_count(), "handovers");
    expect_equal(failures.get(), 0, "times that the TSC of another processor was ahead");
    if (failures.get() != 0) {
        print("processor ");
        print_decimal(first.receiver);
        print(" in round ");
        print_decimal(first.round);
        print(" read ");
        print_hex(first.after);
        print(" after ");
        print_hex(first.before);
        print("\n");
    }
}
