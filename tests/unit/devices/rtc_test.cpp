// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/rtc_mc146818.hpp>

#include <tests/unit/devices/device_fuzz.hpp>

#include <cstdint>
#include <random>
#include <vector>

using namespace hv;
using hv::test::device_context;

namespace {

constexpr nanoseconds second{nanoseconds_per_second};
constexpr unsigned set_bit{0x80};
constexpr unsigned pie{0x40};
constexpr unsigned aie{0x20};
constexpr unsigned uie{0x10};
constexpr unsigned binary{0x04};
constexpr unsigned hours_24{0x02};

/// Seconds since 1970 of a date at a time of day.
auto seconds_of(calendar_date d, unsigned h, unsigned m, unsigned s) -> std::int64_t {
    return days_to(d) * seconds_per_day + h * 3600 + m * 60 + s;
}

struct machine {
    device_context context{};
    rtc_mc146818 rtc{};

    explicit machine(std::int64_t wall = seconds_of({2024, 2, 28}, 23, 59, 58) * second) {
        context.wall_time_at_zero = wall;
        rtc.reset(context);
    }
    void out(unsigned index, unsigned value) {
        rtc.write_port(context, 0x70, 1, index);
        rtc.write_port(context, 0x71, 1, value);
    }
    auto in(unsigned index) -> unsigned {
        rtc.write_port(context, 0x70, 1, index);
        return rtc.read_port(context, 0x71, 1);
    }
    /// Year, month, day, hours, minutes, seconds, day of the week as the registers read.
    auto shown() -> std::vector<unsigned> { return {in(0x32) << 8 | in(9), in(8), in(7), in(4), in(2), in(0), in(6)}; }
    void run_to(instant end) {
        while (rtc.deadline() <= end) {
            if (rtc.deadline() > context.time)
                context.time = rtc.deadline();
            rtc.expire(context);
        }
        context.time = end;
    }
    void set_alarm(unsigned h, unsigned m, unsigned s) {
        out(5, h);
        out(3, m);
        out(1, s);
    }
};

using reading = std::vector<unsigned>;

} // namespace

TEST_CASE("the calendar agrees with counting days one by one") {
    calendar_date d{1600, 1, 1};
    auto days = days_to(d);
    CHECK(days == -135140);
    for (unsigned i{0}; i != 900 * 366; ++i, ++days) {
        if (days_to(d) != days or date_after(days) != d)
            FAIL("day " << days);
        if (++d.day > days_in_month(d.year, d.month)) {
            d.day = 1;
            if (++d.month > 12) {
                d.month = 1;
                ++d.year;
            }
        }
    }
}

TEST_CASE("at power-on the clock shows the wall clock in BCD and 24 hours") {
    machine m;
    CHECK(m.shown() == reading{0x2024, 2, 0x28, 0x23, 0x59, 0x58, 4}); // a Wednesday
    CHECK((m.in(0xa) & 0x7f) == 0x26);
    CHECK(m.in(0xb) == hours_24);
    CHECK(m.in(0xc) == 0);
    CHECK(m.in(0xd) == 0x80);
}

TEST_CASE("the clock carries seconds into a leap day") {
    machine m;
    m.context.advance(2 * second);
    CHECK(m.shown() == reading{0x2024, 2, 0x29, 0, 0, 0, 5});
    m.context.advance(86'400 * second);
    CHECK(m.shown() == reading{0x2024, 3, 1, 0, 0, 0, 6});
}

TEST_CASE("the clock carries into the next century") {
    machine m{seconds_of({1999, 12, 31}, 23, 59, 59) * second};
    m.context.advance(second);
    CHECK(m.shown() == reading{0x2000, 1, 1, 0, 0, 0, 7});
}

TEST_CASE("the second changes with the wall clock's second") {
    machine m{seconds_of({2024, 5, 1}, 12, 0, 0) * second + 700'000'000};
    m.context.advance(299'999'999);
    CHECK(m.in(0) == 0);
    m.context.advance(1);
    CHECK(m.in(0) == 1);
}

TEST_CASE("binary mode and the twelve-hour clock show the same time") {
    machine m;
    m.out(0xb, set_bit | binary | hours_24);
    m.out(4, 23);
    m.out(2, 59);
    m.out(0, 59);
    m.out(7, 31);
    m.out(8, 12);
    m.out(9, 99);
    m.out(0x32, 20);
    m.out(0xb, binary | hours_24);
    m.context.advance(second);
    CHECK(m.shown() == reading{21 << 8 | 0, 1, 1, 0, 0, 0, 5}); // the day of the week moves from where it was

    struct {
        unsigned before, after;
    } const hours[]{{0x12, 0x01}, {0x11, 0x92}, {0x92, 0x81}, {0x91, 0x12}, {0x09, 0x10}};
    for (auto const h : hours) {
        machine n;
        n.out(0xb, set_bit);
        n.out(4, h.before);
        n.out(2, 0x59);
        n.out(0, 0x59);
        n.out(0xb, 0);
        n.context.advance(second);
        CHECK(n.in(4) == h.after);
    }
}

TEST_CASE("SET freezes the registers and keeps the phase of the second") {
    machine m;
    m.context.advance(300'000'000);
    m.out(0xb, set_bit | hours_24 | uie);
    CHECK(m.in(0xb) == (set_bit | hours_24)); // and takes UIE back
    m.context.advance(5 * second);
    CHECK(m.in(0) == 0x58);
    CHECK((m.in(0xc) & 0x30) == 0);
    m.out(0xb, hours_24);
    m.context.advance(699'999'999);
    CHECK(m.in(0) == 0x58);
    m.context.advance(1);
    CHECK(m.in(0) == 0x59);
}

TEST_CASE("a divider held in reset stops the clock, and the first update comes half a second after its release") {
    machine m;
    m.context.advance(900'000'000);
    m.out(0xa, 0x76);
    m.context.advance(10 * second);
    CHECK(m.in(0) == 0x58);
    m.out(0xa, 0x26);
    m.context.advance(499'999'999);
    CHECK(m.in(0) == 0x58);
    m.context.advance(1);
    CHECK(m.in(0) == 0x59);
}

TEST_CASE("a divider for another crystal stops the clock") {
    auto const divider = GENERATE(0u, 0x10u, 0x30u, 0x40u, 0x50u, 0x60u, 0x70u);
    machine m;
    m.out(0xa, divider | 6);
    m.out(0xb, pie | uie | aie | hours_24);
    CHECK(m.rtc.deadline() == never);
    m.context.advance(10 * second);
    CHECK(m.in(0) == 0x58);
    CHECK(m.in(0xc) == 0);
}

TEST_CASE("update in progress shows in the last 244 us before an update and only then") {
    machine m;
    m.context.advance(second - 244'001);
    CHECK((m.in(0xa) & 0x80) == 0);
    m.context.advance(1);
    CHECK((m.in(0xa) & 0x80) == 0x80);
    m.context.advance(243'999);
    CHECK((m.in(0xa) & 0x80) == 0x80);
    m.context.advance(1);
    CHECK((m.in(0xa) & 0x80) == 0);
    m.context.advance(second - 1000);
    m.out(0xb, set_bit | hours_24);
    CHECK((m.in(0xa) & 0x80) == 0); // nothing will be updated
}

TEST_CASE("update in progress cannot be written") {
    machine m;
    m.out(0xa, 0xa6);
    CHECK(m.in(0xa) == 0x26);
}

TEST_CASE("the periodic interrupt keeps each of its rates without drift") {
    auto const select = GENERATE(range(1u, 16u));
    machine m;
    m.out(0xa, 0x20 | select);
    m.out(0xb, pie | hours_24);
    auto const frequency = select < 3 ? 256u >> (select - 1) : 32768u >> (select - 1);
    unsigned n{};
    while (m.context.time < instant{10 * second}) {
        m.context.time = m.rtc.deadline();
        m.rtc.expire(m.context);
        ++n;
        // Nothing more until register C is read.
        if (m.context.edges(8) != 1 or m.rtc.deadline() != never or (m.in(0xc) & 0xc0) != 0xc0)
            FAIL("interrupt " << n);
        m.context.forget();
    }
    CHECK(n == 10 * frequency);
}

TEST_CASE("rate 0 is no periodic interrupt") {
    machine m;
    m.out(0xa, 0x20);
    m.out(0xb, pie | hours_24);
    CHECK(m.rtc.deadline() == never);
}

TEST_CASE("the periodic flag is set without its interrupt too") {
    machine m;
    CHECK((m.in(0xc) & 0x40) == 0);
    m.context.advance(976'563); // 1024 Hz
    CHECK(m.in(0xc) == 0x40);
    CHECK(m.in(0xc) == 0);
    CHECK(m.context.edges(8) == 0);
}

TEST_CASE("the update-ended interrupt comes with every second") {
    machine m;
    m.out(0xb, uie | hours_24);
    CHECK(m.rtc.deadline() == instant{second});
    for (unsigned i{1}; i != 10; ++i) {
        m.run_to(instant{i * second});
        CHECK(m.context.edges(8) == i);
        CHECK((m.in(0xc) & 0x90) == 0x90);
    }
}

TEST_CASE("unread flags hold the next interrupt back and reading register C clears them") {
    machine m;
    m.out(0xb, uie | hours_24);
    m.run_to(instant{5 * second});
    CHECK(m.context.edges(8) == 1);
    CHECK((m.in(0xc) & 0x90) == 0x90);
    CHECK(m.in(0xc) == 0);
}

TEST_CASE("disabling an interrupt takes its request back") {
    machine m;
    m.out(0xb, uie | hours_24);
    m.run_to(instant{second});
    m.out(0xb, hours_24);
    m.out(0xb, uie | hours_24);
    CHECK(m.context.edges(8) == 2); // the flag is still there
    m.out(0xb, hours_24);
    CHECK((m.in(0xc) & 0x90) == 0x10);
}

TEST_CASE("enabling an interrupt whose flag is set interrupts at once") {
    machine m;
    m.context.advance(second);
    m.out(0xb, uie | hours_24);
    CHECK(m.context.edges(8) == 1);
}

TEST_CASE("an alarm comes at its time of day") {
    machine m;
    m.set_alarm(0x00, 0x10, 0x05);
    m.out(0xb, aie | hours_24);
    CHECK(m.rtc.deadline() == instant{(2 + 605) * second});
    m.run_to(instant{(2 + 604) * second});
    CHECK(m.context.edges(8) == 0);
    m.run_to(instant{(2 + 605) * second});
    CHECK(m.context.edges(8) == 1);
    CHECK((m.in(0xc) & 0xa0) == 0xa0);
    CHECK(m.shown() == reading{0x2024, 2, 0x29, 0, 0x10, 0x05, 5});
    CHECK(m.rtc.deadline() == instant{(2 + 605 + 86'400) * second});
}

TEST_CASE("an alarm byte with both upper bits set matches everything") {
    struct {
        unsigned h, m, s;
        std::int64_t first, next;
    } const cases[]{{0xff, 0xff, 0xff, 1, 1},
                    {0xc0, 0xc0, 0x00, 2, 60},
                    {0xc0, 0x30, 0x00, 2 + 1800, 3600},
                    {0x06, 0xc0, 0x07, 2 + 6 * 3600 + 7, 60},
                    {0x06, 0x59, 0xc0, 2 + 6 * 3600 + 59 * 60, 1},
                    {0x23, 0x59, 0xc0, 1, 86'400 - 59}};
    for (auto const c : cases) {
        CAPTURE(c.h, c.m, c.s);
        machine m;
        m.set_alarm(c.h, c.m, c.s);
        m.out(0xb, aie | hours_24);
        CHECK(m.rtc.deadline() == instant{c.first * second});
        m.run_to(instant{c.first * second});
        static_cast<void>(m.in(0xc));
        CHECK(m.rtc.deadline() == instant{(c.first + c.next) * second});
    }
}

TEST_CASE("an alarm that is no time never comes") {
    struct {
        unsigned h, m, s;
    } const cases[]{{0x24, 0x00, 0x00}, {0x00, 0x60, 0x00}, {0x00, 0x00, 0x60}, {0x0a, 0x00, 0x00}, {0xc0, 0xc0, 0x1f}};
    for (auto const c : cases) {
        machine m;
        m.set_alarm(c.h, c.m, c.s);
        m.out(0xb, aie | hours_24);
        CHECK(m.rtc.deadline() == never);
        m.context.advance(86'400 * second);
        CHECK((m.in(0xc) & 0x20) == 0);
    }
}

TEST_CASE("an alarm in the twelve-hour clock tells morning from afternoon") {
    machine m;
    m.out(0xb, set_bit);
    m.out(4, 0x12); // midnight
    m.out(2, 0);
    m.out(0, 0);
    m.set_alarm(0x81, 0, 0);
    m.out(0xb, aie);
    CHECK(m.rtc.deadline() == instant{13 * 3600 * second});
}

TEST_CASE("an alarm that passed unnoticed sets its flag when somebody looks") {
    machine m;
    m.set_alarm(0x00, 0x10, 0x05);
    m.context.advance((2 + 604) * second);
    CHECK((m.in(0xc) & 0x20) == 0);
    m.context.advance(86'400ll * 400 * second);
    CHECK((m.in(0xc) & 0x20) == 0x20);
}

TEST_CASE("a time that does not exist stops the updates until a better one is written") {
    struct {
        unsigned index, value;
    } const cases[]{{8, 0x13}, {8, 0},    {7, 0x32}, {7, 0},    {7, 0x0a},
                    {4, 0x24}, {2, 0x60}, {0, 0x7a}, {9, 0xa0}, {0x32, 0xff}};
    for (auto const c : cases) {
        CAPTURE(c.index, c.value);
        machine m;
        auto const good = m.in(c.index);
        m.out(0xb, uie | hours_24);
        m.out(c.index, c.value);
        auto const seconds = m.in(0);
        m.context.advance(100 * second);
        CHECK(m.in(c.index) == c.value);
        CHECK(m.in(0) == seconds);
        CHECK((m.in(0xc) & 0x10) == 0);
        CHECK(m.rtc.deadline() == never);
        m.out(c.index, good);
        m.context.advance(second);
        CHECK(m.in(0) == 0x59);
    }
}

TEST_CASE("February 30 stops the clock, February 29 only in a common year") {
    machine m;
    m.out(7, 0x30);
    m.context.advance(second);
    CHECK(m.in(0) == 0x58);
    m.out(7, 0x29);
    m.context.advance(second);
    CHECK(m.in(0) == 0x59);
    m.out(9, 0x23);
    m.context.advance(second);
    CHECK(m.in(0) == 0x59);
}

TEST_CASE("the last year is followed by the first") {
    machine m;
    m.out(0x32, 0x99);
    m.out(9, 0x99);
    m.out(8, 0x12);
    m.out(7, 0x31);
    m.context.advance(2 * second);
    CHECK(m.shown() == reading{0, 1, 1, 0, 0, 0, 5});
}

TEST_CASE("what is read-only stays") {
    machine m;
    m.out(0, 0xd8);
    CHECK(m.in(0) == 0x58);
    m.out(0xc, 0xff);
    CHECK(m.in(0xc) == 0);
    m.out(0xd, 0);
    CHECK(m.in(0xd) == 0x80);
    CHECK(m.rtc.read_port(m.context, 0x70, 1) == 0xff);
}

TEST_CASE("the other bytes are memory and the index has seven bits") {
    machine m;
    for (unsigned i{0xe}; i != 128; ++i)
        if (i != 0x32)
            m.out(i | 0x80, i ^ 0x5a);
    for (unsigned i{0xe}; i != 128; ++i)
        if (i != 0x32)
            CHECK(m.in(i) == (i ^ 0x5a));
}

TEST_CASE("a reset turns interrupts off and leaves time and memory alone") {
    machine m;
    m.out(0x40, 0x77);
    m.out(0xb, pie | aie | uie | 0x08 | hours_24);
    m.context.advance(3 * second);
    m.rtc.expire(m.context);
    m.context.wall_time_at_zero = 0;
    m.rtc.reset(m.context);
    CHECK(m.in(0xb) == hours_24);
    CHECK((m.in(0xc) & 0x80) == 0);
    CHECK(m.in(0x40) == 0x77);
    CHECK(m.in(0) == 0x01);
    CHECK(m.rtc.deadline() == never);
}

TEST_CASE("a monitor sets and reads time and memory") {
    machine m;
    auto const time = seconds_of({2031, 7, 9}, 13, 14, 15) * second + 250'000'000;
    REQUIRE(m.rtc.set_time(m.context, time) == status::ok);
    CHECK(m.shown() == reading{0x2031, 7, 9, 0x13, 0x14, 0x15, 4}); // a Wednesday
    m.context.advance(second);
    CHECK(m.rtc.time(m.context).value == time + second);
    CHECK(m.in(0) == 0x16);
    CHECK(m.rtc.set_time(m.context, -1) == status::invalid_argument);
    CHECK(m.rtc.write_memory(0x0e, 1) == status::ok);
    CHECK(m.rtc.read_memory(m.context, 0x0e).value == 1);
    for (auto const clock_register : {0u, 9u, 0xau, 0xbu, 0xcu, 0xdu, 0x32u, 128u})
        CHECK(m.rtc.write_memory(clock_register, 1) == status::invalid_argument);
    CHECK_FALSE(m.rtc.read_memory(m.context, 128));
    m.out(8, 0x13);
    CHECK(m.rtc.time(m.context).error == status::out_of_range);
    m.out(8, 1);
    m.out(0x32, 0x99);
    CHECK(m.rtc.time(m.context).error == status::out_of_range); // beyond 64 bits of nanoseconds
}

TEST_CASE("a restored clock behaves as the saved one would have") {
    std::mt19937_64 random{146818};
    for (unsigned run{0}; run != 500; ++run) {
        machine m;
        if (run % 2 == 0)
            test::abuse(m.rtc, m.context, random, 60);
        m.out(0xa, 0x20 | (random() & 15));
        m.out(0xb, random() & 0x7f);
        m.set_alarm(random() & 0xff, random() & 0xff, random() & 0xff);
        m.context.advance(static_cast<nanoseconds>(random() % 10'000'000'000));
        m.context.forget();
        machine n;
        n.context = m.context;
        n.context.wall_time_at_zero = 12345;
        REQUIRE(n.rtc.restore(n.context, m.rtc.save(m.context)) == status::ok);
        for (unsigned i{0}; i != 40; ++i) {
            auto const index = random() % 16 == 0 ? 0x32 : static_cast<unsigned>(random() % 16);
            if (random() % 6 == 0) {
                auto const value = static_cast<unsigned>(random() & 0xff);
                m.out(index, value);
                n.out(index, value);
            } else {
                REQUIRE(m.in(index) == n.in(index));
            }
            REQUIRE(m.rtc.deadline() == n.rtc.deadline());
            m.context.advance(static_cast<nanoseconds>(random() % 3'000'000'000));
            n.context.time = m.context.time;
            m.rtc.expire(m.context);
            n.rtc.expire(n.context);
            REQUIRE(m.context.lines == n.context.lines);
        }
    }
}

TEST_CASE("no access and no image confuses the clock") {
    std::mt19937_64 random{70};
    machine m;
    CHECK_NOTHROW(test::abuse(m.rtc, m.context, random, 200'000));
    for (unsigned i{0}; i != 50; ++i) {
        test::abuse(m.rtc, m.context, random, 50);
        CHECK(test::mutate(m.rtc, m.context, random, 500) > 5);
    }
}

TEST_CASE("an image from the future or with an impossible index is refused, and fixed bits are made right") {
    machine m;
    m.context.advance(10 * second);
    m.rtc.expire(m.context);
    auto const good = m.rtc.save(m.context);
    auto const refused = [&](auto change) {
        auto image = good;
        change(image);
        auto const before = m.rtc.save(m.context);
        return m.rtc.restore(m.context, image) == status::invalid_argument and
               test::same(before, m.rtc.save(m.context));
    };
    CHECK(refused([](auto& i) { i.base_clock = 11 * second; }));
    CHECK(refused([](auto& i) { i.base_clock = INT64_MIN; }));
    CHECK(refused([](auto& i) { i.last_period = 11 * second; }));
    CHECK(refused([](auto& i) { i.last_period = -1; }));
    CHECK(refused([](auto& i) { i.addr = 128; }));
    auto image = good;
    image.content[0xa] |= 0x80;
    image.content[0xc] = 0x8f;
    image.content[0xd] = 0;
    REQUIRE(m.rtc.restore(m.context, image) == status::ok);
    auto const taken = m.rtc.save(m.context);
    CHECK(taken.content[0xa] == 0x26);
    CHECK(taken.content[0xc] == 0);
    CHECK(taken.content[0xd] == 0x80);
}
