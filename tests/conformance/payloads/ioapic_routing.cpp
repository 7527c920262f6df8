// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the I/O APIC sends the 8254's interrupt, line 0 at pin 2, where its entry says, if it is not masked.
// also on: pc_vmx_apicv
#include "devices.hpp"

using namespace payload;

namespace {
auto arrives(unsigned vector) -> bool {
    auto const before = count_of(vector);
    sti();
    auto const got = wait_until(50, [=] { return count_of(vector) != before; });
    cli();
    return got;
}
} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    for (unsigned v{0x40}; v != 0x100; ++v)
        set_handler(v, lapic::acknowledge);
    expect_between(ioapic::pins(), 24, 240, "pins");
    expect_equal(ioapic::read(1) & 0xff & ~u32{0x30}, ioapic::read(1) & 0xf, "the version");
    for (unsigned pin{}; pin != ioapic::pins(); ++pin) {
        ioapic::write(static_cast<u8>(0x10 + 2 * pin), ioapic::masked);
        expect_equal(ioapic::entry(pin), ioapic::masked, "an entry reads back");
    }

    pit::start(0, 2, pit::frequency / 1000);
    expect(not arrives(0x40), "nothing while all pins are masked");
    ioapic::route(2, 0x40);
    expect(arrives(0x40), "line 0 at pin 2");
    ioapic::route(2, 0x81);
    expect(arrives(0x81), "another vector");
    expect_equal(ioapic::entry(2) & 0x1efff, 0x81, "the entry");
    ioapic::route(2, 0x82 | ioapic::masked);
    expect(not arrives(0x82), "a masked pin");
    ioapic::write(0x15, (lapic::own_id() + 5) << 24);
    ioapic::write(0x14, 0x83);
    expect(not arrives(0x83), "a destination that does not exist");

    // Logical destination, and lowest priority.
    lapic::write(lapic::dfr, 0xffffffff);
    lapic::write(lapic::ldr, 0x04000000);
    ioapic::write(0x15, 0x04u << 24);
    ioapic::write(0x14, 0x800 | 0x84);
    expect(arrives(0x84), "a logical destination");
    ioapic::write(0x14, 0x900 | 0x85);
    expect(arrives(0x85), "lowest priority");
    ioapic::write(0x14, ioapic::masked);
    pit::stop();
}
