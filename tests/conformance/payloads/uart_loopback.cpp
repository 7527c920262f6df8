// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the serial port loops bytes and modem lines back, and its interrupts have their order.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u16 base{0x3f8};
enum : u16 {
    data_register = base,
    enable,
    identification,
    line_control,
    modem_control,
    line_status,
    modem_status,
    scratch
};
} // namespace

void payload::run() {
    pic::initialise();
    out8(scratch, 0xa5);
    expect_equal(in8(scratch), 0xa5, "scratch");
    out8(line_control, 0x83);
    out8(data_register, 0x0c);
    out8(enable, 0x00);
    expect_equal(in8(data_register), 0x0c, "divisor, low");
    expect_equal(in8(enable), 0, "divisor, high");
    out8(line_control, 3);
    expect_equal(in8(line_control), 3, "line control");
    out8(enable, 0x0f);
    expect_equal(in8(enable), 0x0f, "interrupt enable");
    out8(enable, 0);
    out8(identification, 7); // FIFOs on, and empty
    expect_equal(in8(identification) & 0xc0, 0xc0, "FIFOs are on");
    expect_equal(in8(line_status) & 0x60, 0x60, "the transmitter is empty");

    out8(modem_control, 0x1a); // loopback, OUT2, RTS
    expect_equal(in8(modem_status) & 0xf0, 0x90, "RTS is CTS, OUT2 is DCD");
    out8(modem_control, 0x15); // loopback, OUT1, DTR
    expect_equal(in8(modem_status) & 0xf0, 0x60, "DTR is DSR, OUT1 is RI");
    expect_equal(in8(modem_status) & 0x0f, 0, "the changes were read");
    for (u8 i{}; i != 10; ++i)
        out8(data_register, static_cast<u8>(0x30 + i));
    for (u8 i{}; i != 10; ++i) {
        expect(wait_until(100, [] { return (in8(line_status) & 1) != 0; }), "a byte comes back");
        expect_equal(in8(data_register), 0x30u + i, "the byte");
    }
    expect_equal(in8(line_status) & 1, 0, "no more bytes");

    // Overrun: without FIFOs there is room for one byte.
    out8(identification, 0);
    out8(data_register, 1);
    wait_ms(5);
    out8(data_register, 2);
    wait_ms(5);
    expect_equal(in8(line_status) & 2, 2, "overrun");
    expect_equal(in8(line_status) & 2, 0, "reading the status clears it");
    (void)in8(data_register);

    // Interrupts, by priority, as the identification tells them: received data before transmitter empty.
    out8(modem_control, 0x10);
    (void)in8(modem_status);
    out8(enable, 3);
    out8(data_register, 0x55);
    expect(wait_until(100, [] { return (in8(line_status) & 0x61) == 0x61; }), "sent and received");
    expect_equal(in8(identification) & 0xf, 4, "received data first");
    expect_equal(in8(data_register), 0x55, "the byte");
    expect_equal(in8(identification) & 0xf, 2, "transmitter empty next");
    expect_equal(in8(identification) & 0xf, 1, "then nothing");
    out8(enable, 0);

    // The line: OUT2 lets it out.
    static u64 seen;
    set_handler(0x24, [](frame&) {
        seen = in8(identification) & 0xf;
        pic::end(4);
    });
    out8(modem_control, 8);
    pic::unmask(4);
    out8(enable, 2);
    sti();
    expect(wait_until(100, [] { return count_of(0x24) != 0; }), "an interrupt on line 4");
    cli();
    expect_equal(seen, 2, "transmitter empty");
    out8(enable, 0);
    out8(modem_control, 0);
}
