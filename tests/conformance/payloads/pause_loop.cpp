// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_scaled
// judges: a loop of PAUSE goes on, whether its end exits or not, and an interrupt ends it.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    pic::initialise();
    lapic::enable();
    u64 turns{};
    for (u64 const begin{rdtsc()}; rdtsc() - begin < tsc_per_ms() * 20; ++turns)
        for (unsigned i{}; i != 100; ++i)
            pause();
    expect(turns > 0, "turns of the loop");

    constexpr u8 timer{0x40};
    set_handler(timer, lapic::acknowledge);
    lapic::write(lapic::divide, 3);
    lapic::write(lapic::lvt_timer, timer);
    lapic::write(lapic::initial_count, 50'000);
    sti();
    while (count_of(timer) == 0)
        pause();
    cli();
    expect_equal(count_of(timer), 1, "one interrupt");
}
