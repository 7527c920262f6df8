// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: the local APIC can be switched off and on through IA32_APIC_BASE, and works again.
// also on: pc_vmx_apicv
// reference: no, QEMU never switches an APIC on again.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    constexpr u64 global_enable{1u << 11};
    auto const base = rdmsr(lapic::base_msr);
    expect_equal(base & 0xfffff000, lapic::base, "the base address");
    expect_equal(base >> 8 & 1, 1, "this is the bootstrap processor");
    expect((base & global_enable) != 0, "on at the start");

    lapic::enable();
    auto const version = lapic::read(lapic::version);
    expect_between(version & 0xff, 0x10, 0x15, "the version");
    wrmsr(lapic::base_msr, base & ~global_enable);
    expect_equal(rdmsr(lapic::base_msr), base & ~global_enable, "off reads back");
    wrmsr(lapic::base_msr, base);
    expect_equal(rdmsr(lapic::base_msr), base, "on reads back");
    expect_equal(lapic::read(lapic::version), version, "the version is there again");

    lapic::enable();
    set_handler(0x40, lapic::acknowledge);
    lapic::send(0x40040);
    sti();
    expect(wait_until(100, [] { return count_of(0x40) == 1; }), "interrupts after the APIC was off");
    cli();
}
