// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// shares: 2
// not on qemu-svm: the emulator's own processors wait there for whatever else this computer does.
// judges: two that began on one of the host's processors compute at the same time once another has nothing to do.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 settles_ms{15}, lasts_ms{60};
shared_count here, go, done;
u64 per_ms;
u64 longest[most_processors]; // ticks that each was away at once

void compute() {
    sti();
    (void)go.reaches(1);
    auto const begin = rdtsc();
    u64 before{begin}, away{};
    for (u64 now{before}; now - begin < lasts_ms * per_ms; before = now) {
        now = rdtsc();
        if (now - begin > settles_ms * per_ms and now - before > away)
            away = now - before;
    }
    longest[own_number()] = away;
    cli();
    done.add();
}

void other() {
    here.add();
    if (own_number() == 2)
        compute();
}

} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    per_ms = tsc_per_ms();
    if (not start_all(other, here))
        return;
    go.set(1);
    auto const begin = rdtsc();
    compute();
    expect(done.reaches(2), "both come to the end");
    expect_between((rdtsc() - begin) / per_ms, lasts_ms, lasts_ms + 20, "milliseconds for both");
    for (unsigned number{0}; number != 4; number += 2)
        expect_between(longest[number] * 1000 / per_ms, 0, 2000, "microseconds away, where a turn has 5000");
}
