// SPDX-License-Identifier: BSD-2-Clause
// Two processors of a host whose counters differ may see time go back by a little from one call of a device to the
// next.
#include <catch2/catch.hpp>

#include <hv/devices/hpet.hpp>
#include <hv/devices/lapic_timer.hpp>
#include <hv/devices/pit_8254.hpp>
#include <hv/devices/pm_timer.hpp>
#include <hv/devices/rtc_mc146818.hpp>

#include "test_context.hpp"

using namespace hv;
using hv::test::device_context;

namespace {

template <typename Device>
struct machine {
    device_context context{};
    Device device{};
    nanoseconds const back{GENERATE(1, 300, 5'000)}; ///< how far

    machine() { device.reset(context); }

    void out(std::uint16_t port, std::uint32_t value, unsigned size = 1) {
        device.write_port(context, port, size, value);
    }
    [[nodiscard]] auto in(std::uint16_t port, unsigned size = 1) -> std::uint32_t {
        return device.read_port(context, port, size);
    }
    void write(std::uint64_t offset, std::uint64_t value) { device.write_mmio(context, offset, 8, value); }

    /// As the board does.
    void serve() {
        if (device.deadline() <= context.now())
            device.expire(context);
    }
    /// Goes to the next deadline, on the slower clock too, and looks at the device there.
    void next(auto look) {
        REQUIRE(device.deadline() != never);
        REQUIRE(device.deadline() > context.time);
        context.time = device.deadline();
        serve();
        auto const after = device.deadline();
        context.advance(-back);
        serve();
        look();
        CHECK(device.deadline() == after);
        context.advance(back);
        serve();
        look();
        CHECK(device.deadline() == after);
    }
};

} // namespace

TEST_CASE("a PIT keeps its periods and stays at a full count until time has come back") {
    machine<pit_8254> m;
    auto const mode = GENERATE(2u, 3u);
    constexpr std::uint32_t count{1193};
    auto const read = [&] {
        m.out(0x43, 0);
        auto const low = m.in(0x40);
        return low | m.in(0x40) << 8;
    };
    m.out(0x43, 0x30 | mode << 1);
    m.out(0x40, count & 0xff);
    m.out(0x40, count >> 8);
    m.out(0x43, 0xb0); // counter 2 in mode 0
    m.out(0x61, 1);
    m.out(0x42, 0xff);
    m.out(0x42, 0xff);
    for (unsigned n{1}; n != 500; ++n) {
        m.next([&] {
            CHECK(read() <= count);
            CHECK(read() > count - 20);
            m.out(0x61, m.in(0x61) ^ 1); // the gate of counter 2
        });
        CHECK(m.context.edges(0) == n);
    }
    CHECK(m.context.time > instant{} + 498 * time_for(count, pit_counter::frequency));
    CHECK(m.context.time < instant{} + 500 * time_for(count, pit_counter::frequency));
}

TEST_CASE("a PIT's counter that is loaded just before time goes back begins at its count") {
    machine<pit_8254> m;
    m.context.advance(nanoseconds_per_second);
    m.out(0x43, 0x30); // mode 0
    m.out(0x40, 0xe8);
    m.out(0x40, 3);
    auto const due = m.device.deadline();
    m.context.advance(-m.back);
    m.out(0x43, 0);
    CHECK((m.in(0x40) | m.in(0x40) << 8) == 1000);
    CHECK(m.device.deadline() == due);
    m.context.time = due;
    m.serve();
    m.context.advance(-m.back);
    m.serve();
    m.out(0x43, 0);
    CHECK((m.in(0x40) | m.in(0x40) << 8) < 10);
    CHECK(m.context.edges(0) == 1);
    CHECK(m.device.deadline() == never);
}

TEST_CASE("an HPET keeps its periods, and its counter goes back no further than time") {
    machine<hpet> m;
    constexpr std::uint64_t period{16'777};
    m.write(0x100, 24u << 9 | 1u << 2 | 1u << 3 | 1u << 6);
    m.write(0x108, period);
    m.write(0x120, 25u << 9 | 1u << 2); // one that matches once and then after a turn of the counter
    m.write(0x128, 3 * period);
    m.write(0x10, 1);
    auto const slack = ticks_in(m.back, hpet::frequency) + 2;
    for (unsigned n{1}; n != 500; ++n) {
        m.next([&] {
            auto const counter = m.device.read_mmio(m.context, 0xf0, 8);
            CHECK(counter <= n * period + 1);
            CHECK(counter + slack >= n * period);
            m.write(0x128, 3 * period - (n < 3 ? 0 : slack));
        });
        CHECK(m.context.edges(24) == n);
        CHECK(m.context.edges(25) == (n < 3 ? 0 : 1));
    }
    m.context.advance(-m.back);
    auto const before = m.device.read_mmio(m.context, 0xf0, 8);
    m.write(0x10, 0);
    m.context.advance(-m.back);
    m.write(0x10, 1); // begins where it stood
    CHECK(m.device.read_mmio(m.context, 0xf0, 8) == before);
    m.context.advance(-m.back);
    CHECK(m.device.read_mmio(m.context, 0xf0, 8) == before);
}

TEST_CASE("a local APIC's timer fires once a period and counts from no more than its initial count") {
    auto const back = GENERATE(1, 300, 5'000);
    auto const mode = GENERATE(lapic_timer::mode::one_shot, lapic_timer::mode::periodic);
    constexpr std::uint32_t count{1 << 17};
    lapic_timer t;
    t.set_mode(mode);
    t.set_divide_configuration(instant{}, 0b1011);
    auto now = instant{nanoseconds_per_second};
    t.set_initial_count(now, count);
    CHECK(t.current_count(now - back) == count);
    for (unsigned n{0}; n != 500 and t.deadline() != never; ++n) {
        REQUIRE(t.deadline() > now);
        now = t.deadline();
        CHECK_FALSE(t.expire(now - back));
        CHECK(t.current_count(now - back) <= 1 + ticks_in(back, lapic_timer::frequency));
        CHECK(t.expire(now));
        auto const after = t.deadline();
        CHECK_FALSE(t.expire(now - back));
        CHECK_FALSE(t.expire(now));
        CHECK(t.deadline() == after);
        CHECK(t.current_count(now - back) == (after == never ? 0 : count));
        if (after == never)
            break;
        t.set_divide_configuration(now - back, 0b1011); // goes on with a count that is not above the first
        CHECK(t.deadline() <= after);
        CHECK(t.deadline() >= after - back);
    }
    CHECK((t.deadline() == never) == (mode == lapic_timer::mode::one_shot));
}

TEST_CASE("the PM timer tells each change of its highest bit once") {
    machine<pm_timer> m;
    m.out(0x602, 1, 2);
    for (unsigned n{1}; n != 20; ++n) {
        REQUIRE(m.device.deadline() > m.context.time);
        m.context.time = m.device.deadline();
        m.serve();
        CHECK((m.in(0x600, 2) & 1) == 1);
        m.out(0x600, 1, 2);
        m.context.advance(-m.back);
        m.serve();
        CHECK((m.in(0x600, 2) & 1) == 0);
        CHECK(static_cast<std::uint32_t>((n << 31) - m.in(0x608, 4)) <= 2 + ticks_in(m.back, pm_timer::frequency));
        m.context.advance(m.back);
        m.serve();
        CHECK((m.in(0x600, 2) & 1) == 0);
        CHECK(m.context.edges(9) == n);
    }
}

TEST_CASE("the real-time clock tells each period and each second once") {
    machine<rtc_mc146818> m;
    auto const [enables, a_second] = GENERATE(std::pair{0x42u, 1024u}, std::pair{0x12u, 1u});
    auto const read = [&](std::uint32_t index) {
        m.out(0x70, index);
        return m.in(0x71);
    };
    m.out(0x70, 0x0b);
    m.out(0x71, enables);
    m.context.advance(1);
    static_cast<void>(read(0x0c));
    auto const start = m.context.time;
    auto const seconds_before = read(0);
    for (unsigned n{1}; n <= 2 * a_second; ++n) {
        REQUIRE(m.device.deadline() > m.context.time);
        m.context.time = m.device.deadline();
        m.serve();
        CHECK((read(0x0c) & 0x80) != 0);
        auto const shown = read(0);
        m.context.advance(-m.back);
        m.serve();
        CHECK(read(0x0c) == 0);
        CHECK(read(0) == shown);
        m.context.advance(m.back);
        m.serve();
        CHECK(read(0x0c) == 0);
        CHECK(m.context.edges(8) == n);
    }
    CHECK(m.context.time > start + nanoseconds_per_second - nanoseconds_per_second / 100);
    CHECK(m.context.time < start + 2 * nanoseconds_per_second + nanoseconds_per_second / 100);
    CHECK(read(0) != seconds_before);
}
