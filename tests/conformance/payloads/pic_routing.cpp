// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the 8259 pair serves lines behind masks, until EOI, through the cascade, polled and automatically.
// also on: pc_vmx_apicv
#include "devices.hpp"

using namespace payload;

namespace {
auto read_register(u8 which) -> u16 {
    out8(0x20, which);
    out8(0xa0, which);
    return static_cast<u16>(in8(0x20) | in8(0xa0) << 8);
}
constexpr u8 request{0x0a}, service{0x0b};

auto requested() -> bool {
    return (read_register(request) & 1) != 0;
}
} // namespace

void payload::run() {
    pic::initialise();
    expect_equal(in8(0x21), 0xff, "the mask reads back");
    out8(0x21, 0xa5);
    expect_equal(in8(0x21), 0xa5, "another mask");
    pic::set_masks(0xffff);

    // Line 0 from the timer: requested while masked, delivered when unmasked, in service until EOI.
    static u16 in_service, after;
    set_handler(0x20, [](frame&) {
        in_service = read_register(service);
        pic::end(0);
        after = read_register(service);
    });
    pit::start(0, 0, 100);
    sti();
    expect(wait_until(20, requested), "a request behind the mask");
    wait_ms(1);
    expect_equal(count_of(0x20), 0, "no interrupt behind the mask");
    pic::unmask(0);
    expect(wait_until(20, [] { return count_of(0x20) == 1; }), "an interrupt once it is unmasked");
    cli();
    expect_equal(in_service, 1, "in service in the handler");
    expect_equal(after, 0, "not in service behind EOI");
    pic::set_masks(0xffff);

    // Line 8 through the cascade: both chips hold it.
    set_handler(0x28, [](frame&) {
        in_service = read_register(service);
        (void)rtc::read(0x0c);
        pic::end(8);
    });
    auto const b = rtc::read(0x0b);
    (void)rtc::read(0x0c);
    rtc::write(0x0a, 0x26);
    rtc::write(0x0b, static_cast<u8>((b & 0x0f) | 0x40));
    pic::unmask(8);
    sti();
    expect(wait_until(50, [] { return count_of(0x28) != 0; }), "an interrupt of the second chip");
    cli();
    expect_equal(in_service, 0x104, "line 8, and the cascade");
    rtc::write(0x0b, b);
    (void)rtc::read(0x0c);
    pic::set_masks(0xffff);

    // Polling: the highest request, taken as if it had interrupted.
    pic::initialise();
    pit::start(0, 0, 100);
    sti();
    expect(wait_until(20, requested), "another request");
    cli();
    pic::unmask(0);
    out8(0x20, 0x0c);
    expect_equal(in8(0x20) & 0x87, 0x80, "a poll finds line 0");
    expect_equal(read_register(service) & 1, 1, "and takes it into service");
    pic::end(0);
    out8(0x20, 0x0c);
    expect_equal(in8(0x20) & 0x80, 0, "a poll finds nothing more");

    // Automatic EOI.
    out8(0x20, 0x11);
    out8(0x21, 0x20);
    out8(0x21, 4);
    out8(0x21, 3);
    out8(0x21, 0xfe);
    set_handler(0x20, [](frame&) { after = read_register(service); });
    auto const before = count_of(0x20);
    pit::start(0, 2, pit::frequency / 1000);
    sti();
    expect(wait_until(50, [=] { return count_of(0x20) >= before + 3; }), "interrupts without EOI, automatic");
    cli();
    expect_equal(after & 1, 0, "nothing in service with automatic EOI");
    pit::stop();
    pic::initialise();
}
