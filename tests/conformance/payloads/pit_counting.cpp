// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: the 8254 counts down, holds a latched count, and tells mode, access and output by its read-back command.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    out8(0x61, static_cast<u8>((in8(0x61) & 0xfc) | 1)); // gate on, speaker off
    pit::start(2, 0, 0xffff);
    auto last = pit::latched(2);
    expect(last > 0x8000, "the count begins at the top");
    for (unsigned i{}; i != 50; ++i) {
        auto const now = pit::latched(2);
        expect(now <= last, "a count never rises");
        last = now;
    }
    out8(0x43, 0x80);
    wait_ms(2);
    auto const low = in8(0x42), high = in8(0x42);
    auto const held = static_cast<u16>(low | high << 8);
    expect(held <= last and held > pit::latched(2) + 2000, "a latched count stands still");

    pit::start(2, 3, 1000);
    out8(0x43, 0xe8);
    expect_equal(in8(0x42) & 0x3f, 0x36, "status: two bytes, mode 3, binary");
    pit::start(2, 0, 10);
    expect(wait_until(100, [] { return (in8(0x61) & 0x20) != 0; }), "OUT rises at the end");
    out8(0x43, 0xe8);
    expect_equal(in8(0x42) & 0xc0, 0x80, "status: OUT high, count loaded");

    // One-byte access.
    out8(0x43, 0x94); // channel 2, low byte, mode 2
    out8(0x42, 200);
    for (unsigned i{}; i != 20; ++i) {
        out8(0x43, 0x80);
        expect_between(in8(0x42), 1, 200, "a count of one byte");
    }
}
