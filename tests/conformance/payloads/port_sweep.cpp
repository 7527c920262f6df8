// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: every port takes a read and a write of each width without harm; nobody's ports read as ones.
// reference: no, QEMU has devices there that end it.
#include "devices.hpp"

using namespace payload;

namespace {

/// Ports that end or reset the machine by right, those of the console, and that of the non-maskable interrupt.
auto is_left_out(u32 port, u32 size) -> bool {
    auto const reaches = [=](u32 first, u32 last) { return port <= last and port + size > first; };
    return reaches(0xf4, 0xf7) or reaches(0xe9, 0xe9) or reaches(0x3f8, 0x3ff) or reaches(0x60, 0x64) or
           reaches(0x92, 0x92) or reaches(0xcf9, 0xcf9) or reaches(0x604, 0x605);
}

} // namespace

void payload::run() {
    for (u32 port{}; port != 0x10000; ++port) {
        auto const p = static_cast<u16>(port);
        if (not is_left_out(port, 1)) {
            (void)in8(p);
            out8(p, 0);
            out8(p, 0xff);
        }
        // Wider ones around devices, and now and then elsewhere; they may wrap around the end.
        if (port >= 0x1000 and port % 61 != 0 and port < 0xfff0)
            continue;
        if (not is_left_out(port, 2)) {
            (void)in16(p);
            out16(p, 0xffff);
        }
        if (not is_left_out(port, 4)) {
            (void)in32(p);
            out32(p, 0);
        }
    }
    u16 const nobodys[]{0x10, 0x2e, 0x4e, 0x87, 0x2f8, 0x3e8, 0x510, 0x1234, 0x5658, 0xcfc, 0xfffe};
    for (auto const port : nobodys) {
        expect_equal(in8(port), 0xff, "a byte of nobody's port");
        expect_equal(in16(port), 0xffff, "a word of nobody's port");
        expect_equal(in32(port), 0xffffffff, "a double word of nobody's port");
    }
    pit::start(2, 0, 100);
    out8(0x61, 1);
    expect(wait_until(100, [] { return (in8(0x61) & 0x20) != 0; }), "the 8254 works after the sweep");
}
