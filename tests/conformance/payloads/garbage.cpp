// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: random bytes run as user code harm nobody: each run ends by an exception or the timer.
#include "devices.hpp"

using namespace payload;

namespace {
alignas(4096) u8 code[4096], stack[4096];
u64 state{88172645463325252};

auto random() -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}
} // namespace

void payload::run() {
    lapic::enable();
    pic::initialise();
    allow_user(reinterpret_cast<u64>(code));
    allow_user(reinterpret_cast<u64>(stack));
    lapic::write(lapic::divide, 3);
    lapic::write(lapic::lvt_timer, 0x40);
    u64 ends[257]{};
    for (unsigned round{}; round != 3000; ++round) {
        for (unsigned i{}; i != sizeof code; i += 8)
            *reinterpret_cast<u64 volatile*>(code + i) = random();
        lapic::write(lapic::initial_count, 2'000'000);
        auto const end = attempt_user(reinterpret_cast<u64>(code) + random() % 64, reinterpret_cast<u64>(stack) + 4096);
        lapic::write(lapic::initial_count, 0);
        lapic::end();
        ++ends[end.vector];
    }
    expect(ends[vector::undefined] != 0, "some runs end by #UD");
    expect(ends[vector::protection] != 0, "some runs end by #GP");
    expect(ends[vector::page_fault] != 0, "some runs end by #PF");
    expect_equal(ends[none], 0, "no run ends by itself");
    unsigned const never[]{2, 8, 18};
    for (auto const vector : never)
        expect_equal(ends[vector], 0, "no double fault, NMI or machine check");
}
