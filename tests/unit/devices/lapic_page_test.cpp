// SPDX-License-Identifier: BSD-2-Clause
#include <devices/lapic_board.hpp>

#include <random>

using namespace hv;
using namespace hv::test;
using x86::apic::page;

namespace {

/// An APIC with something in every register that software or a device can fill.
auto filled(bool in_x2apic, unsigned seed) -> lapic_board {
    auto b = in_x2apic ? x2apic(5) : xapic(5);
    std::mt19937 random{seed};
    for (unsigned i{}; i != 12; ++i)
        b.accept(static_cast<std::uint8_t>(16 + random() % 240), (random() & 1) != 0);
    for (unsigned i{}; i != 3 and b.apic.pending_vector() >= 0; ++i)
        b.take(b.apic.pending_vector());
    b.set(reg::task_priority, random() & 0xff);
    if (not in_x2apic) {
        b.set(reg::logical_destination, 0x21000000);
        b.set(reg::destination_format, 0x0fffffff);
    }
    b.set(reg::lvt_cmci, 0x100f3);
    b.set(reg::lvt_timer, 0x200f2);
    b.set(reg::lvt_thermal_sensor, 0x100f1);
    b.set(reg::lvt_performance_counter, 0x400);
    b.set(reg::lvt_lint0, 0x700);
    b.set(reg::lvt_lint1, 0x100f4);
    b.set(reg::lvt_error, 0xf5);
    b.set(reg::divide_configuration, 0xb);
    b.set(reg::initial_count, 123456);
    b.command(0x77, 0x4800); // a vector below 16: an error, and nothing is sent
    b.set(reg::error_status, 0);
    return b;
}

} // namespace

TEST_CASE("the lent page answers every register as the device does") {
    for (auto const in_x2apic : {false, true})
        for (unsigned seed{1}; seed != 20; ++seed) {
            auto b = filled(in_x2apic, seed);
            auto const device = b;
            page lent{};
            b.apic.lend(lent);
            for (unsigned number{}; number != 64; ++number)
                if (lapic_access::contains(lapic_access::x2apic_stable, number)) {
                    auto const r = static_cast<reg>(number);
                    CAPTURE(number, in_x2apic);
                    CHECK(lent.at(r) == lapic_board{device}.get(r));
                    if (in_x2apic)
                        CHECK((std::uint64_t{lent.upper_half(r)} << 32 | lent.at(r)) ==
                              lapic_board{device}.read_msr(lapic_board::index(r)));
                }
            if (not in_x2apic) {
                CHECK(lent.at(reg::destination_format) == lapic_board{device}.get(reg::destination_format));
                CHECK(lent.at(reg::interrupt_command_high) == lapic_board{device}.get(reg::interrupt_command_high));
            }
        }
}

TEST_CASE("a page that nobody touched gives back the same APIC, and its saved form") {
    for (auto const in_x2apic : {false, true})
        for (unsigned seed{1}; seed != 50; ++seed) {
            auto b = filled(in_x2apic, seed);
            auto const image = b.image();
            auto const pending = b.apic.pending_vector();
            page lent{};
            b.apic.lend(lent);
            CHECK(b.apic.pending_vector() == -1); // the processor has them
            b.apic.take_back(lent);
            CHECK(same(b.image(), image));
            CHECK(b.apic.pending_vector() == pending);
        }
}

TEST_CASE("what arrives while the page is lent comes on top of what the processor left") {
    auto b = xapic();
    b.accept(0x40);
    b.accept(0x51);
    page lent{};
    b.apic.lend(lent);
    CHECK(b.accept(0x51) == lapic_request::interrupt); // the processor may have delivered the first
    CHECK(b.accept(0x62) == lapic_request::interrupt);
    SECTION("the processor delivered nothing: two arrivals of one vector are one") {
        b.apic.take_back(lent);
        CHECK(b.vectors(reg::interrupt_request) == std::vector{0x40u, 0x51u, 0x62u});
    }
    SECTION("the processor delivered the first: the second stays") {
        lent.at(reg::interrupt_request, 0x51 / 32) &= ~(1u << 0x51 % 32);
        lent.at(reg::in_service, 0x51 / 32) |= 1u << 0x51 % 32;
        b.apic.take_back(lent);
        CHECK(b.vectors(reg::interrupt_request) == std::vector{0x40u, 0x51u, 0x62u});
        CHECK(b.vectors(reg::in_service) == std::vector{0x51u});
        CHECK(b.apic.pending_vector() == 0x62);
    }
}

TEST_CASE("the processor's changes of TPR, ISR and ICR come back, in xAPIC mode only of ICR") {
    for (auto const in_x2apic : {false, true}) {
        auto b = in_x2apic ? x2apic() : xapic();
        page lent{};
        b.apic.lend(lent);
        lent.at(reg::task_priority) = 0x6a;
        lent.at(reg::in_service, 4) = 1u << 3;
        lent.at(reg::interrupt_command) = 0xfff4'4081; // what the processor put there unchecked
        lent.at(reg::interrupt_command_high) = 0x12ff'ffff;
        lent.at(reg::version) = 0; // writes of others are for apic_write to tell
        b.apic.take_back(lent);
        CHECK(b.get(reg::task_priority) == 0x6a);
        CHECK(b.get(reg::processor_priority) == 0x80);
        CHECK(b.vectors(reg::in_service) == std::vector{0x83u});
        CHECK(b.get(reg::version) == lapic_registers::version);
        if (in_x2apic) {
            CHECK(b.read_msr(0x830) == 0);
        } else {
            CHECK(b.get(reg::interrupt_command) == 0x4'4081);
            CHECK(b.get(reg::interrupt_command_high) == 0x1200'0000);
        }
    }
}
