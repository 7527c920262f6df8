// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_scaled
// reference: no
// judges: CPUID tells the frequency that RDTSC and RDTSCP count at, and IA32_TSC and the TSC deadline go by it.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u32 tsc_msr{0x10}, deadline_msr{0x6e0};
constexpr u8 timer{0x40};

auto rdtscp() -> u64 {
    u32 low, high;
    asm volatile("rdtscp" : "=a"(low), "=d"(high)::"ecx", "memory");
    return u64{high} << 32 | low;
}
} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    expect(cpuid(0x40000000).eax >= 0x40000010, "there is the leaf of frequencies");
    auto const khz = cpuid(0x40000010).eax;
    expect_between(tsc_per_ms(), u64{khz} * 995 / 1000, u64{khz} * 1005 / 1000, "TSC ticks in a millisecond");

    lapic::write(lapic::divide, 0xb); // by 1
    lapic::write(lapic::lvt_timer, lapic::masked | timer);
    lapic::write(lapic::initial_count, ~u32{});
    auto const begin = rdtsc();
    auto const count = lapic::read(lapic::current_count);
    wait_ms(20);
    auto const counted = count - lapic::read(lapic::current_count);
    auto const expected = (rdtsc() - begin) * cpuid(0x40000010).ebx / khz;
    expect_between(counted, expected * 99 / 100, expected * 101 / 100, "ticks of the local APIC's timer");
    lapic::write(lapic::initial_count, 0);

    // One counter, whoever reads it, and it goes on from what is written.
    bool const has_rdtscp{(cpuid(0x80000001).edx >> 27 & 1) != 0};
    u64 last{rdtsc()};
    for (unsigned i{}; i != 300; ++i) {
        auto const now = i % 3 == 0 ? rdmsr(tsc_msr) : i % 3 == 1 and has_rdtscp ? rdtscp() : rdtsc();
        expect(now >= last, "the counter never goes back");
        last = now;
    }
    wrmsr(tsc_msr, 1'000'000'000'000);
    auto const written = rdtsc();
    expect_between(written, 1'000'000'000'000, 1'000'000'000'000 + u64{khz} * 100, "the counter behind WRMSR");
    expect_between(rdmsr(tsc_msr), written, written + u64{khz} * 100, "IA32_TSC behind RDTSC");

    set_handler(timer, lapic::acknowledge);
    lapic::write(lapic::lvt_timer, 2u << 17 | timer);
    auto const deadline = rdtsc() + u64{khz} * 10;
    wrmsr(deadline_msr, deadline);
    wait_for_interrupt();
    expect_between(rdtsc(), deadline, deadline + u64{khz} * 50, "the TSC when the deadline's interrupt comes");
    expect_equal(count_of(timer), 1, "one interrupt for the deadline");
}
