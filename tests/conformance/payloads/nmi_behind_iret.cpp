// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// judges: an NMI that waits for the end of another comes behind its IRET: their frames never lie on each other.
#include "devices.hpp"

using namespace payload;

namespace {
u64 frames[2], stacks[2];
u64 arrived;

void record(frame& f) {
    if (arrived < 2) {
        frames[arrived] = reinterpret_cast<u64>(&f);
        stacks[arrived] = f.rsp;
    }
    if (arrived++ == 0) {
        lapic::send(0x400, lapic::own_id());
        (void)cpuid(0);
    }
}
} // namespace

void payload::run() {
    lapic::enable();
    set_handler(vector::nmi, record);
    for (unsigned i{}; i != 10; ++i) {
        arrived = 0;
        lapic::send(0x400, lapic::own_id());
        expect(wait_until(100, [] { return *static_cast<u64 volatile*>(&arrived) == 2; }), "the second NMI");
        expect_equal(arrived, 2, "and no third");
        expect(stacks[1] >= frames[0] + sizeof(frame), "the second NMI interrupts what the first did, not its handler");
    }
}
