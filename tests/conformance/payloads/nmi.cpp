// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// smoke: yes
// judges: an NMI comes with interrupts off, and a second one waits for IRET, however often it was sent.
#include "devices.hpp"

using namespace payload;

namespace {
u64 volatile nested;
u64 volatile depth, deepest;

void handle(frame&) {
    depth = depth + 1;
    if (depth > deepest)
        deepest = depth;
    if (nested != 0) {
        auto const before = count_of(vector::nmi);
        for (u64 left{nested}; left != 0; --left)
            lapic::send(0x400, lapic::own_id());
        nested = 0;
        (void)cpuid(0);
        wait_ms(2);
        expect_equal(count_of(vector::nmi), before, "no NMI inside an NMI");
    }
    depth = depth - 1;
}
} // namespace

void payload::run() {
    lapic::enable();
    (void)tsc_per_ms();
    set_handler(vector::nmi, handle);
    lapic::send(0x400, lapic::own_id());
    expect(wait_until(100, [] { return count_of(vector::nmi) == 1; }), "an NMI with interrupts off");

    // Sent inside the handler three times: one comes behind IRET.
    nested = 3;
    lapic::send(0x400, lapic::own_id());
    expect(wait_until(100, [] { return count_of(vector::nmi) == 3; }), "one NMI was kept");
    wait_ms(2);
    expect_equal(count_of(vector::nmi), 3, "and only one");
    expect_equal(deepest, 1, "NMIs do not nest");

    // The IRET of an exception inside the handler ends the blocking too.
    static u64 inner;
    set_handler(vector::breakpoint, [](frame&) {});
    set_handler(vector::nmi, [](frame&) {
        if (inner++ != 0)
            return;
        lapic::send(0x400, lapic::own_id());
        auto const before = count_of(vector::nmi);
        wait_ms(1);
        expect_equal(count_of(vector::nmi), before, "blocked before the IRET");
        asm volatile("int3");
        expect(wait_until(100, [] { return count_of(vector::nmi) == 5; }), "not blocked behind the IRET");
    });
    lapic::send(0x400, lapic::own_id());
    expect(wait_until(100, [] { return count_of(vector::nmi) == 5; }), "an NMI inside an NMI behind an IRET");
}
