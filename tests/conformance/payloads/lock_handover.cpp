// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 2
// also with: 4
// shares: 2
// not on qemu-svm: QEMU has no pause filter, so that who waits does so until its turn is over.
// judges: what goes around vCPUs that share the host's processors, as a fair lock does, waits for no turn to end.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 rounds{100};
shared_count here, served, done;

/// Each has it in turn, and waits until the one before gives it away.
void take_turns() {
    sti();
    here.add();
    while (here.get() != processor_count())
        pause();
    for (u32 n{}; n != rounds; ++n) {
        while (served.get() != n * processor_count() + own_number())
            pause();
        served.add();
    }
    cli();
    done.add();
}

} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    auto const per_ms = tsc_per_ms();
    if (not start_all(take_turns, here))
        return;
    auto const begin = rdtsc();
    take_turns();
    expect(done.reaches(processor_count()), "all come to the end");
    auto const microseconds = (rdtsc() - begin) * 1000 / per_ms;
    print_decimal(microseconds / served.get());
    print(" us each of ");
    print_decimal(served.get());
    print(" times\n");
    expect_between(microseconds / served.get(), 0, 500, "a tenth of a turn");
}
