// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/device_set.hpp>
#include <hv/devices/pc.hpp>

#include <tests/unit/devices/device_fuzz.hpp>

#include <cstdint>
#include <optional>
#include <random>

using namespace hv;
using hv::test::device_context;

namespace {

struct machine {
    device_context context{};
    keyboard_controller keyboard{};

    machine() { keyboard.reset(context); }
    void out(std::uint16_t port, unsigned value) { keyboard.write_port(context, port, 1, value); }
    auto in(std::uint16_t port) -> unsigned { return keyboard.read_port(context, port, 1); }
    auto command(unsigned code, std::optional<unsigned> data = {}) -> std::optional<unsigned> {
        out(0x64, code);
        if (data)
            out(0x60, *data);
        if ((in(0x64) & 1) == 0)
            return {};
        return in(0x60);
    }
};

} // namespace

TEST_CASE("an idle keyboard controller has no data and takes commands") {
    machine m;
    CHECK((m.in(0x64) & 0x23) == 0);
    CHECK((m.in(0x64) & 0x14) == 0x14); // self-test passed, not locked
}

TEST_CASE("status tells a command from data") {
    machine m;
    m.out(0x64, 0xae);
    CHECK((m.in(0x64) & 8) == 8);
    m.out(0x60, 0);
    CHECK((m.in(0x64) & 8) == 0);
}

TEST_CASE("the controller answers its tests, and says that nothing is plugged in") {
    machine m;
    CHECK(m.command(0xaa) == 0x55);
    CHECK(m.command(0xab) == 0x00);
    CHECK(m.command(0xa9) == 0x01);
    CHECK(m.command(0xc0) == 0x80);
    CHECK((m.in(0x64) & 1) == 0);
}

TEST_CASE("the command byte reads back and the port switches change it") {
    machine m;
    CHECK(m.command(0x20) == 0x64);
    m.command(0x60, 0x45);
    CHECK(m.command(0x20) == 0x45);
    m.command(0xad);
    CHECK(m.command(0x20) == 0x55);
    m.command(0xae);
    m.command(0xa7);
    CHECK(m.command(0x20) == 0x65);
    m.command(0xa8);
    CHECK(m.command(0x20) == 0x45);
    m.command(0x60, 0x00);
    CHECK((m.in(0x64) & 4) == 0);
    m.command(0xaa);
    CHECK((m.in(0x64) & 4) == 4);
}

TEST_CASE("a probe for a mouse gets its byte back without the mouse's flag") {
    machine m;
    m.out(0x64, 0xd3);
    m.out(0x60, 0x5a);
    CHECK((m.in(0x64) & 0x21) == 0x01);
    CHECK(m.in(0x60) == 0x5a);
    CHECK(m.command(0xd2, 0x77) == 0x77);
}

TEST_CASE("bytes for keyboard and mouse vanish") {
    machine m;
    m.out(0x60, 0xff);
    CHECK((m.in(0x64) & 1) == 0);
    CHECK_FALSE(m.command(0xd4, 0xf2));
}

TEST_CASE("a data byte belongs to the last command only") {
    machine m;
    m.out(0x64, 0x60);
    m.out(0x64, 0xae);
    m.out(0x60, 0x00);
    CHECK(m.command(0x20) == 0x64);
}

TEST_CASE("pulsing output bit 0 resets, other pulses do not") {
    for (unsigned code{0xf0}; code != 0x100; ++code) {
        machine m;
        m.out(0x64, code);
        CHECK(m.context.resets == (code % 2 == 0 ? 1 : 0));
    }
}

TEST_CASE("the output port holds the A20 gate and resets when bit 0 goes low") {
    machine m;
    CHECK(m.command(0xd0) == 0x03);
    CHECK(m.in(0x92) == 2);
    m.command(0xd1, 0x01);
    CHECK(m.command(0xd0) == 0x01);
    CHECK(m.in(0x92) == 0);
    m.out(0x92, 2);
    CHECK(m.command(0xd0) == 0x03);
    CHECK(m.context.resets == 0);
    m.command(0xd1, 0x02);
    CHECK(m.context.resets == 1);
    m.out(0x92, 3);
    CHECK(m.context.resets == 2);
}

TEST_CASE("a restored keyboard controller behaves as the saved one would have") {
    std::mt19937_64 random{8042};
    for (unsigned run{0}; run != 2000; ++run) {
        machine m;
        test::abuse(m.keyboard, m.context, random, 30);
        machine n;
        REQUIRE(n.keyboard.restore(n.context, m.keyboard.save(m.context)) == status::ok);
        for (unsigned i{0}; i != 20; ++i) {
            std::uint16_t const ports[]{0x60, 0x64, 0x92};
            auto const port = ports[random() % 3];
            if (random() % 2 == 0) {
                auto const value = static_cast<unsigned>(random() & 0xff);
                m.out(port, value);
                n.out(port, value);
            } else {
                REQUIRE(m.in(port) == n.in(port));
            }
            REQUIRE(m.context.resets == n.context.resets);
        }
    }
}

TEST_CASE("no access and no image confuses the keyboard controller") {
    std::mt19937_64 random{64};
    machine m;
    CHECK_NOTHROW(test::abuse(m.keyboard, m.context, random, 100'000));
    unsigned refused{};
    for (unsigned i{0}; i != 50; ++i) {
        test::abuse(m.keyboard, m.context, random, 50);
        refused += test::mutate(m.keyboard, m.context, random, 500);
    }
    CHECK(refused > 1000);
}

TEST_CASE("a write to the exit port ends the run with its value") {
    device_context context;
    exit_port port;
    port.reset(context);
    CHECK(port.read_port(context, 0xf4, 4) == 0);
    port.write_port(context, 0xf4, 4, 0x12345678);
    port.write_port(context, 0xf4, 1, 3);
    CHECK(context.exits == std::vector<std::uint32_t>{0x12345678, 3});
}

TEST_CASE("the debug port identifies itself and writes to its stream") {
    device_context context;
    debug_port console;
    debug_port_to<3> other;
    CHECK(console.read_port(context, 0xe9, 1) == 0xe9);
    console.write_port(context, 0xe9, 1, 'a');
    other.write_port(context, 0xe9, 1, 'b');
    CHECK(context.text(0) == "a");
    CHECK(context.text(3) == "b");
}

TEST_CASE("all devices of a PC fit together and can be saved") {
    using pc = device_set<lapic, ioapic, pic_8259, pit_8254, hpet, pm_timer, rtc_mc146818, com1, keyboard_controller,
                          exit_port, debug_port>;
    STATIC_REQUIRE(pc::all_saveable);
    STATIC_REQUIRE(extended<pm_timer>);
    STATIC_REQUIRE_FALSE(extended<pit_8254>);
}

TEST_CASE("a device without state does not keep a machine from being saved") {
    STATIC_REQUIRE(device_set<keyboard_controller, exit_port, debug_port>::all_saveable);
    STATIC_REQUIRE_FALSE(saveable<exit_port>);
}
