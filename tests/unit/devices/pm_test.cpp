// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/pm_timer.hpp>

#include <tests/unit/devices/device_fuzz.hpp>

#include <cstdint>
#include <random>

using namespace hv;
using hv::test::device_context;

namespace {

constexpr nanoseconds half_turn{time_for(1ull << 31, pm_timer::frequency)}; ///< about ten minutes

struct machine {
    device_context context{};
    pm_timer pm{};

    machine() { pm.reset(context); }
    void out(std::uint16_t port, unsigned size, std::uint32_t value) { pm.write_port(context, port, size, value); }
    auto in(std::uint16_t port, unsigned size) -> std::uint32_t { return pm.read_port(context, port, size); }
};

} // namespace

TEST_CASE("the timer counts 3579545 cycles a second in 32 bits") {
    machine m;
    CHECK(m.in(0x608, 4) == 0);
    m.context.advance(nanoseconds_per_second);
    CHECK(m.in(0x608, 4) == 3579545);
    m.context.time = instant{time_for((1ull << 32) + 5, pm_timer::frequency)};
    CHECK(m.in(0x608, 4) == 5);
}

TEST_CASE("the timer counts from the reset of the machine") {
    machine m;
    m.context.advance(nanoseconds_per_second);
    m.pm.reset(m.context);
    CHECK(m.in(0x608, 4) == 0);
}

TEST_CASE("bytes and words of the timer are parts of its 32 bits") {
    machine m;
    m.context.time = instant{time_for(0x12345678, pm_timer::frequency)};
    CHECK(m.in(0x608, 4) == 0x12345678);
    CHECK(m.in(0x608, 2) == 0x5678);
    CHECK(m.in(0x60a, 2) == 0x1234);
    CHECK(m.in(0x608, 1) == 0x78);
    CHECK(m.in(0x609, 1) == 0x56);
    CHECK(m.in(0x60a, 1) == 0x34);
    CHECK(m.in(0x60b, 1) == 0x12);
    m.out(0x608, 4, 0);
    CHECK(m.in(0x608, 4) == 0x12345678); // read-only
}

TEST_CASE("SCI_EN reads as one and cannot be cleared") {
    machine m;
    CHECK(m.in(0x604, 2) == 1);
    m.out(0x604, 2, 0);
    CHECK(m.in(0x604, 2) == 1);
    m.out(0x604, 2, 2 | 3 << 10);
    CHECK(m.in(0x604, 2) == (1 | 2 | 3 << 10));
    m.out(0x604, 2, 1 << 13);
    CHECK(m.in(0x604, 2) == 1); // SLP_EN reads as zero
}

TEST_CASE("SLP_EN with the type of S5 powers the machine off, other types do nothing") {
    for (unsigned type{0}; type != 8; ++type) {
        machine m;
        m.out(0x604, 2, type << 10);
        CHECK(m.context.power_offs == 0);
        m.out(0x604, 2, type << 10 | 1 << 13);
        CHECK(m.context.power_offs == (type == pm_timer::slp_typ_s5 ? 1 : 0));
    }
    machine m;
    m.out(0x605, 1, pm_timer::slp_typ_s5 << 2 | 1 << 5);
    CHECK(m.context.power_offs == 1);
}

TEST_CASE("the timer's highest bit sets its status at every change, and enabled raises the SCI") {
    machine m;
    CHECK(m.pm.deadline() == never);
    m.out(0x602, 2, 1);
    CHECK(m.in(0x602, 2) == 1);
    CHECK(m.pm.deadline() == instant{half_turn});
    for (unsigned i{1}; i != 6; ++i) {
        m.context.time = m.pm.deadline();
        CHECK((m.in(0x608, 4) >> 31) == (i & 1));
        m.pm.expire(m.context);
        CHECK(m.context.edges(9) == i);
        CHECK(m.context.asserted(9));
        CHECK(m.pm.deadline() == never);
        CHECK(m.in(0x600, 2) == 1);
        m.out(0x600, 2, 0xfffe);
        CHECK(m.context.asserted(9));
        m.out(0x600, 2, 1);
        CHECK_FALSE(m.context.asserted(9));
        CHECK(m.in(0x600, 2) == 0);
        CHECK(m.pm.deadline() == instant{time_for((i + 1ull) << 31, pm_timer::frequency)});
    }
}

TEST_CASE("status is set without its enable, and enabling it then raises the SCI") {
    machine m;
    m.context.advance(half_turn);
    CHECK(m.in(0x600, 4) == 1);
    CHECK_FALSE(m.context.asserted(9));
    m.out(0x602, 1, 1);
    CHECK(m.context.asserted(9));
    m.out(0x602, 1, 0);
    CHECK_FALSE(m.context.asserted(9));
}

TEST_CASE("only the enables that exist are kept") {
    machine m;
    m.out(0x600, 4, 0xffffffff);
    CHECK(m.in(0x600, 4) == 0x07210000);
    CHECK(m.context.lines.empty());
}

TEST_CASE("a byte with the reset bit at port CF9h resets, a 32-bit PCI address does not") {
    machine m;
    m.out(0xcf9, 1, 2);
    CHECK(m.context.resets == 0);
    m.out(0xcf8, 4, 0x80000600);
    m.out(0xcf8, 2, 0x600);
    m.out(0xcf8, 1, 6);
    m.out(0xcfb, 1, 6);
    m.out(0xcf9, 2, 6);
    CHECK(m.context.resets == 0);
    m.out(pm_timer::reset_port, 1, pm_timer::reset_value);
    CHECK(m.context.resets == 1);
    CHECK(m.in(0xcf8, 4) == 0xffffffff); // there is no PCI
    CHECK(m.in(0xcf9, 1) == 0xff);
}

TEST_CASE("both payloads together restore the whole block") {
    std::mt19937_64 random{604};
    for (unsigned run{0}; run != 500; ++run) {
        machine m;
        test::abuse(m.pm, m.context, random, 30);
        m.out(0x602, 2, random() & 0x721);
        m.context.advance(static_cast<nanoseconds>(random() % (3 * std::uint64_t{half_turn})));
        m.context.forget();
        machine n;
        n.context = m.context;
        REQUIRE(n.pm.restore(n.context, m.pm.save(m.context)) == status::ok);
        REQUIRE(n.pm.restore_extension(n.context, m.pm.save_extension(m.context)) == status::ok);
        for (unsigned i{0}; i != 12; ++i) {
            REQUIRE(m.in(0x600, 4) == n.in(0x600, 4));
            REQUIRE(m.in(0x604, 2) == n.in(0x604, 2));
            REQUIRE(m.in(0x608, 4) == n.in(0x608, 4));
            REQUIRE(m.pm.deadline() == n.pm.deadline());
            auto const port = static_cast<std::uint16_t>(0x600 + random() % 4);
            auto const value = static_cast<std::uint32_t>(random());
            m.out(port, 1, value);
            n.out(port, 1, value);
            m.context.advance(half_turn / 3);
            n.context.time = m.context.time;
        }
    }
}

TEST_CASE("an asserted SCI stays asserted over a restore and is released once") {
    machine m;
    m.out(0x602, 2, 1);
    m.context.advance(half_turn);
    m.pm.expire(m.context);
    machine n;
    n.context.time = m.context.time;
    REQUIRE(n.pm.restore(n.context, m.pm.save(m.context)) == status::ok);
    REQUIRE(n.pm.restore_extension(n.context, m.pm.save_extension(m.context)) == status::ok);
    CHECK(n.context.lines.empty());
    n.out(0x600, 2, 1);
    CHECK(n.context.lines == std::vector{test::line_event{test::line_event::kind::lower, 9}});
}

TEST_CASE("no access and no image confuses the PM block") {
    std::mt19937_64 random{3579545};
    machine m;
    CHECK_NOTHROW(test::abuse(m.pm, m.context, random, 100'000));
    for (unsigned i{0}; i != 20; ++i) {
        test::abuse(m.pm, m.context, random, 50);
        test::mutate(m.pm, m.context, random, 500);
    }
    auto const good = m.pm.save_extension(m.context);
    for (unsigned bit{0}; bit != 48; ++bit) {
        hv_pm_registers_v1 image{good};
        auto& word = bit < 16 ? image.status : bit < 32 ? image.enable : image.control;
        word ^= static_cast<std::uint16_t>(1u << bit % 16);
        auto const before = m.pm.save_extension(m.context);
        auto const allowed = bit < 32 ? 0x0721u >> bit % 16 & 1 : 0x1c02u >> bit % 16 & 1;
        CHECK((m.pm.restore_extension(m.context, image) == status::ok) == (allowed != 0));
        if (allowed == 0)
            CHECK(test::same(before, m.pm.save_extension(m.context)));
    }
    hv_pm_timer_v1 image{};
    image.time_base = m.context.time.since_creation + 1;
    CHECK(m.pm.restore(m.context, image) == status::invalid_argument);
    image.time_base = -1;
    CHECK(m.pm.restore(m.context, image) == status::invalid_argument);
    image.time_base = 0;
    image.ioport = 77; // ignored
    CHECK(m.pm.restore(m.context, image) == status::ok);
}
