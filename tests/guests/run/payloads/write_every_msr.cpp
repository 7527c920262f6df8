// SPDX-License-Identifier: BSD-2-Clause
// Writes zeros and ones to every MSR number that a processor might have; who exists may mind, but not the host.
#include "payload.hpp"

extern "C" {
extern char const payload_name[];
char const payload_name[]{"write_every_msr"};
}

using namespace payload;

void payload::run() {
    struct range {
        u32 first, count;
    };
    range const ranges[]{{0, 0x2000}, {0x40000000, 0x200}, {0xc0000000, 0x2000}, {0xc0010000, 0x2000}};
    u64 const values[]{0, ~u64{}, 0x5555555555555555};
    u64 written{};
    for (auto const& r : ranges)
        for (u32 i{}; i != r.count; ++i)
            for (u64 const value : values) {
                auto const index = r.first + i;
                written += attempt([index, value] { wrmsr(index, value); }).vector == none;
            }
    expect(written > 8, "some registers take some value");
}
