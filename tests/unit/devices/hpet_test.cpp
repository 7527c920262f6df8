// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/hpet.hpp>

#include <tests/unit/devices/device_fuzz.hpp>

#include <cstdint>
#include <random>

using namespace hv;
using hv::test::device_context;

namespace {

constexpr std::uint64_t edge_on_24{24u << 9};
constexpr std::uint64_t on{1u << 2};
constexpr std::uint64_t level{1u << 1};
constexpr std::uint64_t periodic{1u << 3};
constexpr std::uint64_t value_set{1u << 6};
constexpr std::uint64_t fsb{1u << 14};

struct machine {
    device_context context{};
    hv::hpet hpet{};

    machine() { hpet.reset(context); }
    void write(std::uint64_t offset, std::uint64_t value, unsigned size = 8) {
        hpet.write_mmio(context, offset, size, value);
    }
    auto read(std::uint64_t offset, unsigned size = 8) -> std::uint64_t {
        return hpet.read_mmio(context, offset, size);
    }
    static auto config_of(unsigned n) -> std::uint64_t { return 0x100 + 0x20 * n; }
    static auto comparator_of(unsigned n) -> std::uint64_t { return 0x108 + 0x20 * n; }
    static auto message_of(unsigned n) -> std::uint64_t { return 0x110 + 0x20 * n; }
    void start() { write(0x10, 1); }
    /// To the moment when the counter, started at time 0, has made `ticks`.
    void go_to(std::uint64_t ticks) { context.time = instant{time_for(ticks, hv::hpet::frequency)}; }
    void run_to(instant end) {
        while (hpet.deadline() <= end) {
            if (hpet.deadline() > context.time)
                context.time = hpet.deadline();
            hpet.expire(context);
        }
        context.time = end;
    }
};

} // namespace

TEST_CASE("the capabilities tell eight 32-bit timers of 2^24 Hz") {
    machine m;
    CHECK(m.read(0) == (59'604'644ull << 32 | 0x80860701));
    CHECK(m.read(0, 4) == 0x80860701);
    CHECK(m.read(4, 4) == 59'604'644);
    for (unsigned n{0}; n != 8; ++n)
        CHECK(m.read(machine::config_of(n)) == 0xff000000'00008010ull);
    CHECK(m.read(machine::config_of(8)) == 0);
}

TEST_CASE("the counter runs while it is enabled and can be set") {
    machine m;
    m.context.advance(nanoseconds_per_second);
    CHECK(m.read(0xf0) == 0);
    m.start();
    m.context.advance(nanoseconds_per_second);
    CHECK(m.read(0xf0) == 1u << 24);
    CHECK(m.read(0xf0, 4) == 1u << 24);
    CHECK(m.read(0xf4, 4) == 0);
    m.write(0x10, 0);
    m.context.advance(nanoseconds_per_second);
    CHECK(m.read(0xf0) == 1u << 24);
    m.write(0xf0, 0xffffffff, 4);
    m.start();
    m.context.advance(60);
    CHECK(m.read(0xf0) == 0); // 32 bits wide
}

TEST_CASE("read-only registers and bits keep their value") {
    machine m;
    m.write(0, ~0ull);
    CHECK(m.read(0, 4) == 0x80860701);
    m.write(0x10, 2); // legacy replacement is not there
    CHECK(m.read(0x10) == 0);
    m.write(machine::config_of(0), ~0ull & ~fsb & ~(0x1full << 9));
    CHECK(m.read(machine::config_of(0)) == (0xff000000'00008010ull | level | on | periodic | value_set));
}

TEST_CASE("accesses of other sizes or off their boundary read zero and write nothing") {
    machine m;
    CHECK(m.read(0, 1) == 0);
    CHECK(m.read(0, 2) == 0);
    CHECK(m.read(4, 8) == 0);
    CHECK(m.read(2, 4) == 0);
    m.write(0x10, 1, 1);
    m.write(0x10, 1, 2);
    m.write(0xc, 1ull << 32, 8);
    CHECK(m.read(0x10) == 0);
}

TEST_CASE("row 20: a timer reaches lines 24 to 31 and every other route is none") {
    for (unsigned n{0}; n != 8; ++n)
        for (unsigned route{0}; route != 32; ++route)
            for (auto const trigger : {std::uint64_t{0}, level}) {
                machine m;
                m.start();
                m.write(machine::config_of(n), on | trigger | std::uint64_t{route} << 9);
                auto const kept = m.read(machine::config_of(n)) >> 9 & 31;
                CHECK(kept == (route >= 24 ? route : 0));
                m.write(machine::comparator_of(n), 1000);
                m.run_to(instant{nanoseconds_per_second});
                for (unsigned line{0}; line != 32; ++line)
                    REQUIRE(m.context.edges(static_cast<std::uint8_t>(line)) == (line == route and route >= 24));
            }
}

TEST_CASE("a one-shot fires when the counter equals the comparator and again after a wrap") {
    machine m;
    m.start();
    m.write(machine::config_of(0), on | edge_on_24);
    m.write(machine::comparator_of(0), 5000);
    CHECK(m.hpet.deadline() == instant{time_for(5000, hv::hpet::frequency)});
    m.run_to(instant{nanoseconds_per_second});
    CHECK(m.context.edges(24) == 1);
    CHECK(m.hpet.deadline() == instant{time_for(5000 + (1ull << 32), hv::hpet::frequency)});
}

TEST_CASE("a one-shot comparator in the past waits for the wrap") {
    machine m;
    m.start();
    m.write(machine::config_of(0), on | edge_on_24);
    m.go_to(10'000);
    m.write(machine::comparator_of(0), 9'999);
    CHECK(m.hpet.deadline() == instant{time_for(9'999 + (1ull << 32), hv::hpet::frequency)});
}

TEST_CASE("a periodic timer set up as Linux does keeps its period without drift") {
    machine m;
    m.start();
    m.go_to(777);
    m.write(machine::config_of(0), on | periodic | value_set | edge_on_24);
    m.write(machine::comparator_of(0), 777 + 65'536, 4);
    CHECK((m.read(machine::config_of(0)) & value_set) == 0);
    m.write(machine::comparator_of(0), 65'536, 4);
    m.run_to(instant{time_for(777 + 65'536 * 1000, hv::hpet::frequency)});
    CHECK(m.context.edges(24) == 1000);
    CHECK(m.read(machine::comparator_of(0)) == 777 + 65'536 * 1001);
    CHECK(m.hpet.deadline() == instant{time_for(777 + 65'536 * 1001, hv::hpet::frequency)});
}

TEST_CASE("without VAL_SET a write changes the period and not the comparator") {
    machine m;
    m.start();
    m.write(machine::config_of(0), on | periodic | value_set | edge_on_24);
    m.write(machine::comparator_of(0), 100'000);
    m.write(machine::comparator_of(0), 200'000);
    CHECK(m.read(machine::comparator_of(0)) == 100'000);
    m.go_to(100'000);
    m.hpet.expire(m.context);
    CHECK(m.read(machine::comparator_of(0)) == 300'000);
}

TEST_CASE("a timer that becomes a one-shot forgets its period") {
    machine m;
    m.write(machine::config_of(0), on | periodic | value_set | edge_on_24);
    m.write(machine::comparator_of(0), 100'000);
    m.write(machine::config_of(0), on | edge_on_24);
    CHECK(m.hpet.save(m.context).timers[0].comp_rate == 0);
    m.write(machine::config_of(0), on | periodic | edge_on_24);
    m.start();
    m.run_to(instant{nanoseconds_per_second});
    CHECK(m.context.edges(24) == 1);
}

TEST_CASE("a periodic timer served late fires once and stays in step") {
    machine m;
    m.start();
    m.write(machine::config_of(0), on | periodic | value_set | edge_on_24);
    m.write(machine::comparator_of(0), 100'000);
    m.go_to(1'050'000);
    m.hpet.expire(m.context);
    CHECK(m.context.edges(24) == 1);
    CHECK(m.hpet.deadline() == instant{time_for(1'100'000, hv::hpet::frequency)});
    CHECK(m.read(machine::comparator_of(0)) == 1'100'000);
}

TEST_CASE("a guest cannot ask for more than ten thousand timer interrupts a second") {
    machine m;
    auto const rate = GENERATE(0u, 1u, 2u, 1000u, 1676u, 1677u);
    m.start();
    m.write(machine::config_of(0), on | periodic | value_set | edge_on_24);
    m.write(machine::comparator_of(0), 50'000);
    m.write(machine::comparator_of(0), rate);
    m.run_to(instant{nanoseconds_per_second});
    CHECK(m.context.edges(24) <= 10'100);
    CHECK(m.context.edges(24) >= (rate == 0 ? 1 : 4'900));
}

TEST_CASE("a level stays until its status bit is written") {
    machine m;
    m.start();
    m.write(machine::config_of(3), on | level | 25u << 9);
    m.write(machine::comparator_of(3), 1000);
    m.go_to(1000);
    m.hpet.expire(m.context);
    CHECK(m.context.asserted(25));
    CHECK(m.read(0x20) == 8);
    m.write(0x20, 7);
    CHECK(m.context.asserted(25));
    m.write(0x20, 8, 4);
    CHECK_FALSE(m.context.asserted(25));
    CHECK(m.read(0x20) == 0);
}

TEST_CASE("two levels on one line assert it once and hold it until both are gone") {
    machine m;
    m.start();
    for (unsigned n{0}; n != 2; ++n) {
        m.write(machine::config_of(n), on | level | 26u << 9);
        m.write(machine::comparator_of(n), 1000 + n);
    }
    m.go_to(2000);
    m.hpet.expire(m.context);
    CHECK(m.context.lines == std::vector{test::line_event{test::line_event::kind::raise, 26}});
    m.write(0x20, 1);
    CHECK(m.context.asserted(26));
    m.write(0x20, 2);
    CHECK_FALSE(m.context.asserted(26));
}

TEST_CASE("a level goes away with its timer's enable, trigger or route") {
    auto const change = GENERATE(level | 27u << 9, on | 27u << 9, on | level | 28u << 9, on | level | fsb | 27u << 9);
    machine m;
    m.start();
    m.write(machine::config_of(0), on | level | 27u << 9);
    m.write(machine::comparator_of(0), 1000);
    m.go_to(1000);
    m.hpet.expire(m.context);
    REQUIRE(m.context.asserted(27));
    m.write(machine::config_of(0), change);
    CHECK_FALSE(m.context.asserted(27));
    CHECK(m.read(0x20) == 0);
}

TEST_CASE("a timer with a message sends it and is an edge") {
    machine m;
    m.start();
    m.write(machine::message_of(1), 0xfee03000'00000041ull);
    m.write(machine::config_of(1), on | level | fsb);
    CHECK((m.read(machine::config_of(1)) & level) == 0);
    m.write(machine::comparator_of(1), 1000);
    m.go_to(1000);
    m.hpet.expire(m.context);
    REQUIRE(m.context.delivered.size() == 1);
    CHECK(m.context.delivered[0] == interrupt_message{.destination = 3, .vector = 0x41});
    CHECK(m.context.lines.empty());
    CHECK(m.read(0x20) == 0);
}

TEST_CASE("a message address outside FEExxxxxh sends nothing") {
    machine m;
    m.start();
    m.write(machine::message_of(1), 0x00001000'00000041ull);
    m.write(machine::config_of(1), on | fsb);
    m.write(machine::comparator_of(1), 1000);
    m.run_to(instant{nanoseconds_per_second});
    CHECK(m.context.delivered.empty());
}

TEST_CASE("an MSI is decoded as the manual lays it out") {
    CHECK(decode_msi(0xfee12000, 0x0131).value ==
          interrupt_message{.destination = 0x12, .vector = 0x31, .mode = delivery_mode::lowest_priority});
    CHECK(decode_msi(0xfee0300c, 0xc030).value ==
          interrupt_message{.destination = 3, .vector = 0x30, .logical = true, .level = true});
    CHECK(decode_msi(0xfee03004, 0x30).value.logical); // as processors do, with or without the hint
    CHECK(decode_msi(0xfeeff000, 0x30).value.destination == broadcast_destination);
    CHECK_FALSE(decode_msi(0xfed00000, 0x30));
    CHECK_FALSE(decode_msi(0x1'fee00000, 0x30));
    CHECK_FALSE(decode_msi(0xfee00000, 0x0330)); // reserved delivery mode
    CHECK_FALSE(decode_msi(0xfee00000, 0x0630));
    CHECK_FALSE(decode_msi(0xfee00000, 0x8030)); // a level taken back
}

TEST_CASE("stopping the counter fires what was due and nothing that was never armed") {
    machine m;
    m.context.advance(5'000'000);
    m.write(machine::config_of(0), on | edge_on_24);
    m.write(machine::comparator_of(0), 1000);
    m.write(machine::config_of(1), 25u << 9); // its interrupt is off
    m.start();
    m.context.advance(1'000'000);
    m.write(0x10, 0);
    CHECK(m.context.edges(24) == 1);
    CHECK(m.context.edges(25) == 0);
    CHECK(m.hpet.deadline() == never);
    m.write(machine::config_of(2), on | 26u << 9);
    m.write(0x10, 0);
    CHECK(m.context.edges(26) == 0);
}

TEST_CASE("setting the counter moves the match") {
    machine m;
    m.start();
    m.write(machine::config_of(0), on | edge_on_24);
    m.write(machine::comparator_of(0), 1u << 24);
    m.write(0xf0, (1u << 24) - 100);
    CHECK(m.hpet.deadline() == instant{time_for(100, hv::hpet::frequency)});
}

TEST_CASE("a restored HPET behaves as the saved one would have") {
    std::mt19937_64 random{24};
    for (unsigned run{0}; run != 500; ++run) {
        machine m;
        m.start();
        test::abuse(m.hpet, m.context, random, 60);
        m.context.forget();
        machine n;
        n.context = m.context;
        REQUIRE(n.hpet.restore(n.context, m.hpet.save(m.context)) == status::ok);
        for (unsigned i{0}; i != 40; ++i) {
            auto const offset = random() % 0x200 & ~7ull;
            auto const value = random() >> random() % 64;
            if (random() % 3 == 0) {
                m.write(offset, value);
                n.write(offset, value);
            } else {
                REQUIRE(m.read(offset) == n.read(offset));
            }
            REQUIRE(m.hpet.deadline() == n.hpet.deadline());
            m.context.advance(static_cast<nanoseconds>(random() % 10'000'000));
            n.context.time = m.context.time;
            m.hpet.expire(m.context);
            n.hpet.expire(n.context);
            REQUIRE(m.context.lines == n.context.lines);
            REQUIRE(m.context.delivered == n.context.delivered);
        }
    }
}

TEST_CASE("row 9: no access and no image confuses the HPET") {
    std::mt19937_64 random{3494};
    machine m;
    CHECK_NOTHROW(test::abuse(m.hpet, m.context, random, 200'000));
    for (unsigned i{0}; i != 50; ++i) {
        test::abuse(m.hpet, m.context, random, 50);
        CHECK(test::mutate(m.hpet, m.context, random, 1000) > 10);
    }
}

TEST_CASE("an image that no HPET can hold is refused") {
    machine m;
    m.start();
    m.write(machine::config_of(0), on | level | 25u << 9);
    m.write(machine::comparator_of(0), 1000);
    m.go_to(5000);
    auto const good = m.hpet.save(m.context);
    m.hpet.expire(m.context);
    auto const refused = [&](auto change) {
        auto image = good;
        change(image);
        auto const before = m.hpet.save(m.context);
        return m.hpet.restore(m.context, image) == status::invalid_argument and
               test::same(before, m.hpet.save(m.context));
    };
    CHECK(refused([](auto& i) { i.config |= 2; }));
    CHECK(refused([](auto& i) { i.time_base = 1'000'000'000; }));
    CHECK(refused([](auto& i) { i.time_base = -1; }));
    CHECK(refused([](auto& i) { i.isr = 0x100; }));
    CHECK(refused([](auto& i) { i.isr = 2; }));                           // timer 1 has no level
    CHECK(refused([](auto& i) { i.timers[0].config |= fsb; }));           // message and level
    CHECK(refused([](auto& i) { i.timers[0].config ^= 0x10ull << 9; }));  // route 9
    CHECK(refused([](auto& i) { i.timers[0].config ^= 0x8000; }));        // capabilities are fixed
    CHECK(refused([](auto& i) { i.timers[0].comp_rate = 5; }));           // not periodic
    CHECK(refused([](auto& i) { i.timers[0].time_target = INT64_MAX; })); // more than a wrap ahead
    CHECK(refused([](auto& i) { i.timers[1].time_target = 10; }));        // armed without its interrupt
    CHECK_FALSE(refused([](auto& i) { i.isr = 1; }));
}
