// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: RDTSC and RDMSR of the time-stamp counter tell the same time, also behind a WRMSR that set it.
// reference: no, QEMU has no time-stamp counter behind its MSR.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u32 tsc{0x10};

void agree(char const* what) {
    for (unsigned i{}; i != 10; ++i) {
        auto const before = rdtsc(), read = rdmsr(tsc), after = rdtsc();
        expect_between(read, before, after, what);
    }
}
} // namespace

void payload::run() {
    auto const second = 1000 * tsc_per_ms();
    agree("RDMSR between two RDTSC");
    u64 const values[]{u64{1} << 40, 5, 0x0123456789abcdef, rdtsc()};
    for (auto const value : values) {
        wrmsr(tsc, value);
        expect_between(rdtsc(), value, value + second, "RDTSC behind WRMSR");
        agree("RDMSR between two RDTSC, behind WRMSR");
    }
    // The counter moved, its rate did not.
    auto const ticks = in32(pm::timer);
    wait_ms(20);
    auto const passed = (in32(pm::timer) - ticks) & pm::ticks_mask;
    expect_between(passed, pm::frequency * 19 / 1000, pm::frequency / 2, "ticks of the ACPI timer in 20 ms");
}
