// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the gate of channel 2 of the 8254 stops and resumes its count in mode 0, and restarts it in mode 1.
// reference: no, QEMU counts on without the gate.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    auto const gate = [](bool on) { out8(0x61, static_cast<u8>((in8(0x61) & 0xfc) | (on ? 1 : 0))); };
    gate(true);
    pit::start(2, 0, 0xffff);
    wait_ms(5);
    gate(false);
    expect_equal(in8(0x61) & 1, 0, "the gate bit reads back");
    auto const stopped = pit::latched(2);
    expect(stopped < 0xffff - 5000, "it counted while the gate was on");
    wait_ms(5);
    expect_equal(pit::latched(2), stopped, "the count while the gate is off");
    gate(true);
    wait_ms(5);
    expect(pit::latched(2) < stopped, "it counts again");

    // Mode 1: nothing before a rising gate; OUT is low for the count behind each.
    gate(false);
    pit::start(2, 1, pit::frequency / 200);
    expect_equal(in8(0x61) & 0x20, 0x20, "OUT is high before the trigger");
    gate(true);
    expect_equal(in8(0x61) & 0x20, 0, "OUT is low behind the trigger");
    expect(wait_until(100, [] { return (in8(0x61) & 0x20) != 0; }), "and rises at the end");
}
