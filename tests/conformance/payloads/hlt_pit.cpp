// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// smoke: yes
// judges: HLT sleeps until the 8254's interrupt comes through the 8259, as often and as late as the rate says.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    pic::initialise();
    set_handler(pic::first_vector, [](frame&) { pic::end(0); });
    pit::start(0, 2, pit::frequency / 100);
    pic::unmask(0);

    wait_for_interrupt(); // into step with the timer
    auto const begin = rdtsc();
    auto const first = count_of(pic::first_vector);
    for (unsigned i{}; i != 20; ++i)
        wait_for_interrupt();
    auto const ms = (rdtsc() - begin) / tsc_per_ms();
    expect_equal(count_of(pic::first_vector) - first, 20, "one interrupt for each HLT");
    expect_between(ms, 185, 400, "milliseconds for 20 periods of 10 ms");

    // One-shot: one interrupt, then none.
    pic::set_masks(0xffff);
    pit::start(0, 0, pit::frequency / 100);
    auto const before = count_of(pic::first_vector);
    pic::unmask(0);
    sti();
    wait_ms(50);
    cli();
    expect_between(count_of(pic::first_vector) - before, 1, 2, "interrupts of mode 0"); // one may have been pending

    // Masked: none at all.
    pic::set_masks(0xffff);
    pit::start(0, 2, pit::frequency / 1000);
    auto const masked = count_of(pic::first_vector);
    sti();
    wait_ms(20);
    cli();
    expect_equal(count_of(pic::first_vector), masked, "interrupts of a masked line");
}
