// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_xsave pc_scaled pc_vmx_apicv
// judges: TSC, 8254, HPET, ACPI timer and local APIC timer run at rates that agree within half a percent.
#include "devices.hpp"

using namespace payload;

namespace {

struct span {
    u64 tsc, ticks;
};

/// How far the TSC and a clock of `mask` go in about 40 ms.
template <typename Read>
auto measure(Read read, u64 mask) -> span {
    auto const a = at_one_moment(read);
    wait_ms(40);
    auto const b = at_one_moment(read);
    return {b.tsc - a.tsc, (b.value - a.value) & mask};
}

/// The TSC's rate in ticks a millisecond, as a clock of known frequency sees it.
auto tsc_rate(span s, u64 frequency) -> u64 {
    return s.tsc * frequency / s.ticks / 1000;
}

} // namespace

void payload::run() {
    lapic::enable();
    lapic::write(lapic::divide, 3);
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    lapic::write(lapic::initial_count, ~u32{});
    hpet::write(hpet::configuration, 1);
    pit::start(2, 2, 0);
    out8(0x61, static_cast<u8>((in8(0x61) & 0xfc) | 1));

    auto const by_pm = tsc_rate(measure([] { return u64{in32(pm::timer)}; }, pm::ticks_mask), pm::frequency);
    auto const by_hpet = tsc_rate(measure([] { return hpet::read(hpet::counter); }, 0xffffffff), hpet::frequency());
    auto const by_pit = tsc_rate(measure([] { return u64{0} - pit::latched(2); }, 0xffff), pit::frequency);
    expect(by_pm > 10'000, "the TSC counts");
    expect_between(by_hpet, by_pm * 995 / 1000, by_pm * 1005 / 1000, "TSC ticks in a millisecond of the HPET");
    expect_between(by_pit, by_pm * 995 / 1000, by_pm * 1005 / 1000, "TSC ticks in a millisecond of the 8254");

    auto const apic = [] { return u64{0} - lapic::read(lapic::current_count); };
    auto const first = measure(apic, 0xffffffff), second = measure(apic, 0xffffffff);
    auto const rate = first.ticks * 1'000'000'000 / first.tsc;
    expect_between(second.ticks * 1'000'000'000 / second.tsc, rate * 995 / 1000, rate * 1005 / 1000,
                   "local APIC timer ticks in 10^9 TSC ticks");
}
