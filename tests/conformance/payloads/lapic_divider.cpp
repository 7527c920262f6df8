// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the local APIC's timer counts at one rate divided by 1, 2, 4 and so on to 128, as its divider says.
// also on: pc_vmx_apicv
#include "devices.hpp"

using namespace payload;

namespace {
/// Timer ticks in 10^9 TSC ticks, over a few milliseconds.
auto rate(u32 divide_configuration) -> u64 {
    lapic::write(lapic::divide, divide_configuration);
    lapic::write(lapic::initial_count, ~u32{});
    auto const passed = [] { return u64{0} - lapic::read(lapic::current_count); };
    auto const a = at_one_moment(passed);
    wait_ms(5);
    auto const b = at_one_moment(passed);
    return ((b.value - a.value) & 0xffffffff) * 1'000'000'000 / (b.tsc - a.tsc);
}
} // namespace

void payload::run() {
    lapic::enable();
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    auto const undivided = rate(0b1011);
    expect(undivided > 1'000'000, "the timer counts");
    u32 const configurations[]{0b0000, 0b0001, 0b0010, 0b0011, 0b1000, 0b1001, 0b1010};
    u64 divisor{2};
    for (auto const configuration : configurations) {
        auto const got = rate(configuration) * divisor;
        expect_equal(lapic::read(lapic::divide), configuration, "the divider reads back");
        expect_between(got, undivided * 98 / 100, undivided * 102 / 100, "the rate times its divisor");
        divisor *= 2;
    }
    lapic::write(lapic::initial_count, 0);
}
