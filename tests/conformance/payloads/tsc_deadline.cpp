// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// judges: TSC-deadline mode interrupts once when the TSC is there, and at once for a deadline in the past.
// SDM Vol. 3A, "TSC-Deadline Mode".
// reference: no, QEMU has no TSC-deadline mode.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u8 timer{0x40};
constexpr u32 deadline_msr{0x6e0}, deadline_mode{2u << 17};
u64 volatile arrived_at;
} // namespace

void payload::run() {
    lapic::enable();
    if ((cpuid(1).ecx >> 24 & 1) == 0)
        return;
    set_handler(timer, [](frame&) {
        arrived_at = rdtsc();
        lapic::end();
    });
    auto const ms = tsc_per_ms();

    // In the other modes the register reads 0 and ignores writes.
    lapic::write(lapic::lvt_timer, timer);
    wrmsr(deadline_msr, rdtsc() + ms);
    expect_equal(rdmsr(deadline_msr), 0, "the deadline in one-shot mode");

    lapic::write(lapic::lvt_timer, deadline_mode | timer);
    lapic::write(lapic::initial_count, 1000); // ignored
    expect_equal(lapic::read(lapic::current_count), 0, "the current count in this mode");
    for (u64 wait{1}; wait != 32; wait *= 2) {
        auto const before = count_of(timer);
        auto const at = rdtsc() + wait * ms;
        wrmsr(deadline_msr, at);
        expect_equal(rdmsr(deadline_msr), at, "the deadline reads back");
        wait_for_interrupt();
        expect_equal(count_of(timer) - before, 1, "one interrupt");
        expect(arrived_at >= at, "not before the deadline");
        expect_between((arrived_at - at) / ms, 0, 50, "milliseconds behind the deadline");
        expect_equal(rdmsr(deadline_msr), 0, "the deadline is gone");
    }

    // In the past: at once. 0: never.
    auto before = count_of(timer);
    wrmsr(deadline_msr, 1);
    sti();
    wait_ms(2);
    cli();
    expect_equal(count_of(timer) - before, 1, "a deadline in the past");
    before = count_of(timer);
    wrmsr(deadline_msr, rdtsc() + 5 * ms);
    wrmsr(deadline_msr, 0);
    expect_equal(rdmsr(deadline_msr), 0, "a deadline taken back");
    sti();
    wait_ms(10);
    cli();
    expect_equal(count_of(timer), before, "interrupts of a deadline taken back");

    // A later write replaces an earlier one; leaving the mode disarms.
    auto const at = rdtsc() + 20 * ms;
    wrmsr(deadline_msr, rdtsc() + 5 * ms);
    wrmsr(deadline_msr, at);
    wait_for_interrupt();
    expect(arrived_at >= at, "the later deadline counts");
    before = count_of(timer);
    wrmsr(deadline_msr, rdtsc() + 5 * ms);
    lapic::write(lapic::lvt_timer, timer);
    lapic::write(lapic::lvt_timer, deadline_mode | timer);
    expect_equal(rdmsr(deadline_msr), 0, "a deadline behind a change of mode");
    // Masked when it comes: lost.
    wrmsr(deadline_msr, rdtsc() + 2 * ms);
    lapic::write(lapic::lvt_timer, deadline_mode | lapic::masked | timer);
    wait_ms(5);
    lapic::write(lapic::lvt_timer, deadline_mode | timer);
    sti();
    wait_ms(10);
    cli();
    expect_equal(count_of(timer), before, "interrupts behind a mask and a change of mode");
    lapic::write(lapic::lvt_timer, lapic::masked);
}
