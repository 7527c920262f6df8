// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: an APIC that is software-disabled masks its local vector table and takes no fixed interrupt.
// also on: pc_vmx_apicv
// reference: no, QEMU does not mask the table.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    lapic::enable();
    set_handler(0x40, lapic::acknowledge);
    lapic::write(lapic::lvt_timer, 0x40);
    lapic::write(lapic::svr, lapic::spurious_vector);
    expect((lapic::read(lapic::lvt_timer) & lapic::masked) != 0, "LVT entries are masked");
    lapic::write(lapic::lvt_timer, 0x40);
    expect((lapic::read(lapic::lvt_timer) & lapic::masked) != 0, "and cannot be unmasked");
    lapic::enable();
    lapic::write(lapic::lvt_timer, 0x40);
    expect_equal(lapic::read(lapic::lvt_timer), 0x40, "until the APIC is enabled");
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);

    lapic::write(lapic::svr, lapic::spurious_vector);
    lapic::send(0x40040);
    sti();
    wait_ms(5);
    cli();
    expect_equal(count_of(0x40), 0, "an interrupt to a disabled APIC");
    lapic::enable();
    lapic::send(0x40040);
    sti();
    expect(wait_until(100, [] { return count_of(0x40) == 1; }), "an interrupt to an enabled APIC");
    cli();
}
