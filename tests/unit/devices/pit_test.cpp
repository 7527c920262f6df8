// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/pit_8254.hpp>

#include <tests/unit/devices/device_fuzz.hpp>

#include <cstdint>
#include <random>

using namespace hv;
using hv::test::device_context;

namespace {

struct machine {
    device_context context{};
    pit_8254 pit{};

    machine() { pit.reset(context); }
    void out(std::uint16_t port, unsigned value) { pit.write_port(context, port, 1, value); }
    auto in(std::uint16_t port) -> unsigned { return pit.read_port(context, port, 1); }
    void count(unsigned channel, unsigned value) {
        auto const port = static_cast<std::uint16_t>(0x40 + channel);
        out(port, value & 0xff);
        out(port, value >> 8);
    }
    auto latched(unsigned channel) -> unsigned {
        out(0x43, channel << 6);
        auto const port = static_cast<std::uint16_t>(0x40 + channel);
        auto const low = in(port);
        return low | in(port) << 8;
    }
    /// To the start of a clock cycle.
    void go_to(std::int64_t cycle) { context.time = pit_counter::start_of(cycle); }
    /// Runs like a vm: timers exactly when they are due.
    void run_to(instant end) {
        while (pit.deadline() <= end) {
            context.time = pit.deadline();
            pit.expire(context);
        }
        context.time = end;
    }
};

} // namespace

TEST_CASE("a rate generator on counter 0 interrupts at its rate and never drifts") {
    machine m;
    m.out(0x43, 0x34);
    m.count(0, 11932); // 100 Hz
    m.run_to(instant{3600 * nanoseconds_per_second});
    auto const expected = (pit_counter::cycle_at(m.context.time) - 1) / 11932;
    CHECK(m.context.edges(0) == expected);
    CHECK(expected == 359994);
    CHECK(m.pit.deadline() == pit_counter::start_of(1 + (expected + 1) * 11932));
}

TEST_CASE("a square wave interrupts once a period") {
    machine m;
    m.out(0x43, 0x36);
    m.count(0, 0);
    m.run_to(instant{nanoseconds_per_second});
    CHECK(m.context.edges(0) == 18); // 18.2 Hz
}

TEST_CASE("modes 0 and 4 interrupt once") {
    machine m;
    auto const mode = GENERATE(0u, 4u);
    m.out(0x43, 0x30 | mode << 1);
    m.context.forget();
    m.count(0, 1000);
    CHECK(m.pit.deadline() == pit_counter::start_of(1 + 1000 + (mode == 4 ? 1 : 0)));
    m.run_to(instant{nanoseconds_per_second});
    CHECK(m.context.edges(0) == 1);
    CHECK(m.pit.deadline() == never);
    m.count(0, 1000);
    m.run_to(instant{2 * nanoseconds_per_second});
    CHECK(m.context.edges(0) == 2);
}

TEST_CASE("a count of zero in mode 0 is 65536 and ends") {
    machine m;
    m.out(0x43, 0x30);
    m.count(0, 0);
    m.run_to(instant{54'920'000});
    CHECK(m.context.edges(0) == 0);
    m.run_to(instant{54'930'000});
    CHECK(m.context.edges(0) == 1);
}

TEST_CASE("modes 1 and 5 of counter 0 never start: its gate has no edge") {
    machine m;
    auto const mode = GENERATE(1u, 5u);
    m.out(0x43, 0x30 | mode << 1);
    m.count(0, 10);
    CHECK(m.pit.deadline() == never);
}

TEST_CASE("a control word that lifts OUT is an edge") {
    machine m;
    m.out(0x43, 0x30);
    CHECK(m.context.edges(0) == 0);
    m.out(0x43, 0x34);
    CHECK(m.context.edges(0) == 1);
    m.out(0x43, 0x36);
    CHECK(m.context.edges(0) == 1);
}

TEST_CASE("a periodic timer served late pulses once and stays in step") {
    machine m;
    m.out(0x43, 0x34);
    m.count(0, 11932);
    m.go_to(1 + 11932 * 7 + 100);
    m.pit.expire(m.context);
    CHECK(m.context.edges(0) == 1);
    CHECK(m.pit.deadline() == pit_counter::start_of(1 + 11932 * 8));
    m.pit.expire(m.context);
    CHECK(m.context.edges(0) == 1);
}

TEST_CASE("an access after the deadline delivers the interrupt first") {
    machine m;
    m.out(0x43, 0x34);
    m.count(0, 11932);
    m.go_to(1 + 11932);
    CHECK(m.latched(0) == 11932);
    CHECK(m.context.edges(0) == 1);
}

TEST_CASE("a guest cannot ask for more than ten thousand interrupts a second") {
    machine m;
    auto const n = GENERATE(1u, 2u, 3u, 50u, 118u);
    m.out(0x43, 0x34);
    m.count(0, n);
    m.run_to(instant{nanoseconds_per_second});
    CHECK(m.context.edges(0) <= 10'100);
    if (n > 1)
        CHECK(m.context.edges(0) > 4'900);
    else
        CHECK(m.context.edges(0) == 0);
}

TEST_CASE("polling the latch does not keep a fast counter from interrupting") {
    machine m;
    m.out(0x43, 0x34);
    m.count(0, 20);
    for (unsigned i{0}; i != 1000; ++i) {
        m.context.advance(10'000);
        static_cast<void>(m.latched(0));
    }
    CHECK(m.context.edges(0) > 40);
}

TEST_CASE("read-back latches count and status of all chosen counters at one moment") {
    machine m;
    m.out(0x43, 0x34);
    m.count(0, 1000);
    m.out(0x43, 0x74);
    m.count(1, 2000);
    m.go_to(501);
    m.out(0x43, 0xc0 | 0x06); // counters 0 and 1, count and status
    m.go_to(700);
    CHECK(m.in(0x40) == 0xb4);
    CHECK((m.in(0x40) | m.in(0x40) << 8) == 500);
    CHECK(m.in(0x41) == 0xb4);
    CHECK((m.in(0x41) | m.in(0x41) << 8) == 1500);
    m.out(0x43, 0xe0 | 0x04); // status of counter 1 only: then the live count follows
    CHECK(m.in(0x41) == 0xb4);
    CHECK((m.in(0x41) | m.in(0x41) << 8) == 1301);
}

TEST_CASE("null count shows until the next clock cycle loads the count") {
    machine m;
    m.go_to(10);
    m.out(0x43, 0x34);
    m.out(0x43, 0xe2);
    CHECK(m.in(0x40) == 0xf4); // no count yet
    m.count(0, 100);
    m.out(0x43, 0xe2);
    CHECK(m.in(0x40) == 0xf4);
    m.go_to(11);
    m.out(0x43, 0xe2);
    CHECK(m.in(0x40) == 0xb4);
    m.count(0, 200); // waits for the end of the period
    m.go_to(110);
    m.out(0x43, 0xe2);
    CHECK((m.in(0x40) & 0x40) == 0x40);
    m.go_to(111);
    m.out(0x43, 0xe2);
    CHECK((m.in(0x40) & 0x40) == 0);
    CHECK(m.latched(0) == 200);
}

TEST_CASE("port 61h gates counter 2 and shows its output, as a TSC calibration uses it") {
    machine m;
    m.out(0x61, (m.in(0x61) & ~2u) | 1);
    m.out(0x43, 0xb0);
    m.count(2, 0x2e9b); // 10 ms
    unsigned polls{};
    while ((m.in(0x61) & 0x20) == 0) {
        m.context.advance(1000);
        ++polls;
    }
    CHECK(polls >= 9'999);
    CHECK(polls <= 10'002);
}

TEST_CASE("a low gate stops counter 2 where it is") {
    machine m;
    m.out(0x61, 1);
    m.out(0x43, 0xb0);
    m.count(2, 1000);
    m.go_to(401);
    CHECK(m.latched(2) == 600);
    m.out(0x61, 0);
    m.go_to(5000);
    CHECK(m.latched(2) == 600);
    m.out(0x61, 1);
    m.go_to(5599);
    CHECK((m.in(0x61) & 0x20) == 0);
    m.go_to(5600);
    CHECK((m.in(0x61) & 0x20) == 0x20);
}

TEST_CASE("a rising gate starts the one-shot of counter 2") {
    machine m;
    m.out(0x43, 0xb2);
    m.count(2, 100);
    CHECK((m.in(0x61) & 0x20) == 0x20);
    m.out(0x61, 1);
    m.go_to(1);
    CHECK((m.in(0x61) & 0x20) == 0);
    m.go_to(101);
    CHECK((m.in(0x61) & 0x20) == 0x20);
}

TEST_CASE("port 61h keeps gate and speaker and toggles refresh") {
    machine m;
    CHECK((m.in(0x61) & 3) == 0);
    m.out(0x61, 0xff);
    CHECK((m.in(0x61) & 0xcf) == 3);
    unsigned toggles{};
    auto last = m.in(0x61) & 0x10;
    for (unsigned i{0}; i != 1000; ++i) {
        m.context.advance(1000);
        auto const bit = m.in(0x61) & 0x10;
        toggles += bit != last;
        last = bit;
    }
    CHECK(toggles >= 65); // every 15.09 us
    CHECK(toggles <= 67);
}

TEST_CASE("port 61h shows the output of a counter 2 without a count") {
    machine m;
    auto const shown = [&m] { return m.in(0x61) & 0x23; };
    CHECK(shown() == 0x20); // as RESET leaves it
    m.out(0x43, 0xb0);      // mode 0
    CHECK(shown() == 0);
    m.out(0x61, 3);
    CHECK(shown() == 3);
    m.out(0x43, 0xb8); // mode 4
    CHECK(shown() == 0x23);
    m.out(0x43, 0xe8); // a read-back programs nothing
    m.out(0x43, 0x70); // nor does counter 1
    m.out(0x43, 0x80); // nor a latch
    CHECK(shown() == 0x23);
    m.out(0x42, 1); // one byte of two
    CHECK(shown() == 0x23);
    m.pit.reset(m.context);
    CHECK(shown() == 0x20);
}

TEST_CASE("port 61h follows every way to change gate, speaker and counter 2") {
    std::mt19937_64 random{0x61};
    machine m;
    pit_counter counter{}; // counter 2 by itself
    counter.set_gate(false, 0);
    bool speaker{};
    for (unsigned i{0}; i != 100'000; ++i) {
        auto const now = pit_counter::cycle_at(m.context.time);
        auto const value = static_cast<std::uint8_t>(random());
        switch (random() % 8) {
        case 0: { // a mode, for counter 2 half of the times; the latch commands are below
            auto const control =
                static_cast<std::uint8_t>((random() % 2 != 0 ? 0x80 : value & 0x40) | 0x10 | (value & 0x2f));
            m.out(0x43, control);
            counter.advance(now);
            if (control >> 6 == 2)
                counter.program(control);
            break;
        }
        case 1: // latch and read-back
            m.out(0x43, value % 2 != 0 ? 0x80u : 0xc0u | (value & 0x3f));
            counter.advance(now);
            break;
        case 2:
        case 3:
            m.out(0x42, value);
            counter.advance(now);
            counter.write(value, now);
            break;
        case 4:
            m.out(0x61, value);
            counter.set_gate((value & 1) != 0, now);
            speaker = (value & 2) != 0;
            break;
        case 5:
            static_cast<void>(m.in(static_cast<std::uint16_t>(0x40 + value % 3)));
            break;
        case 6: { // into another, with or without the speaker, which is the owner's bit
            auto image = m.pit.save(m.context);
            if (value % 4 == 0)
                image.channel[2].mode ^= pit_8254::saved_speaker;
            if (value % 4 == 1)
                image.channel[1].status |= 0x80; // refused
            pit_8254 other{};
            auto const taken = other.restore(m.context, image) == status::ok;
            REQUIRE(taken == (value % 4 != 1));
            if (taken)
                m.pit = other;
            speaker = (m.pit.save(m.context).channel[2].mode & pit_8254::saved_speaker) != 0;
            break;
        }
        default:
            if (value != 0)
                break;
            m.pit.reset(m.context);
            counter = {};
            counter.set_gate(false, now);
            speaker = false;
        }
        if (random() % 2 == 0)
            m.run_to(m.context.time + static_cast<nanoseconds>(random() % 2'000'000));
        auto const read = pit_counter::cycle_at(m.context.time);
        counter.advance(read);
        REQUIRE((m.in(0x61) & ~0x10u) ==
                ((counter.gate() ? 1u : 0u) | (speaker ? 2u : 0u) | (counter.output(read) ? 0x20u : 0u)));
    }
}

TEST_CASE("the control word reads as an open bus") {
    machine m;
    CHECK(m.in(0x43) == 0xff);
}

TEST_CASE("a restored timer behaves as the saved one would have") {
    std::mt19937_64 random{19};
    for (unsigned run{0}; run != 2000; ++run) {
        machine m;
        test::abuse(m.pit, m.context, random, 40);
        // Counter 0 is slow enough for its rate not to be limited; where the limit starts to count is not saved.
        m.out(0x43, 0x30 | unsigned(random() % 6) << 1);
        m.count(0, unsigned(random() % 3000) + 120);
        if (random() % 2 == 0) {
            m.out(0x43, 0xb0 | unsigned(random() % 6) << 1);
            m.count(2, unsigned(random() % 3000) + 2);
            m.out(0x61, unsigned(random()));
        }
        m.context.advance(static_cast<nanoseconds>(random() % 3'000'000));
        if (random() % 2 == 0)
            m.count(0, unsigned(random() % 3000) + 120);                   // waits for the period's end, or its middle
        m.context.advance(static_cast<nanoseconds>(random() % 3'000'000)); // deadlines may have passed
        m.context.forget();
        machine n;
        n.context = m.context;
        REQUIRE(n.pit.restore(n.context, m.pit.save(m.context)) == status::ok);
        n.context.forget();
        for (unsigned i{0}; i != 30; ++i) {
            m.run_to(m.context.time);
            n.run_to(n.context.time);
            auto const port = static_cast<std::uint16_t>(random() % 5 == 0 ? 0x61 : 0x40 + random() % 4);
            if (auto const value = static_cast<unsigned>(random() & 0xff); port >= 0x42 and random() % 3 == 0) {
                auto const for_counter_2 = port == 0x43 and value >> 6 != 3 ? 0x80 | (value & 0x3f) : value;
                m.out(port, for_counter_2);
                n.out(port, for_counter_2);
            } else {
                REQUIRE(m.in(port) == n.in(port));
            }
            auto const end = m.context.time + static_cast<nanoseconds>(random() % 400'000);
            m.run_to(end);
            n.run_to(end);
            REQUIRE(m.context.lines == n.context.lines);
        }
    }
}

TEST_CASE("an interrupt that is due at a save is delivered after the restore, once") {
    machine m;
    auto const mode = GENERATE(0u, 2u, 3u, 4u);
    m.out(0x43, 0x30 | mode << 1);
    m.context.forget();
    m.count(0, 1000);
    m.go_to(1500);
    machine n;
    n.context.time = m.context.time;
    REQUIRE(n.pit.restore(n.context, m.pit.save(m.context)) == status::ok);
    CHECK(n.context.lines.empty());
    CHECK(n.pit.deadline() <= n.context.time);
    n.pit.expire(n.context);
    CHECK(n.context.edges(0) == 1);
    machine o;
    o.context.time = n.context.time;
    REQUIRE(o.pit.restore(o.context, n.pit.save(n.context)) == status::ok);
    CHECK(o.pit.deadline() > o.context.time);
}

TEST_CASE("an image of the reference means what it meant") {
    device_context context;
    context.time = pit_counter::start_of(5000);
    hv_pit_v1 image{};
    image.channel[0].initial = image.channel[0].reg_cr = 1000;
    image.channel[0].mode = 0x34;
    image.channel[0].time_target = pit_counter::start_of(5400).since_creation;
    pit_8254 pit;
    REQUIRE(pit.restore(context, image) == status::ok);
    CHECK(pit.deadline() == pit_counter::start_of(5400));
    context.time = pit.deadline();
    pit.expire(context);
    CHECK(context.edges(0) == 1);
    CHECK(pit.deadline() == pit_counter::start_of(6400));
}

TEST_CASE("row 19: no sequence of accesses and no image confuses the timer") {
    std::mt19937_64 random{8254};
    machine m;
    CHECK_NOTHROW(test::abuse(m.pit, m.context, random, 200'000));
    for (unsigned i{0}; i != 50; ++i) {
        test::abuse(m.pit, m.context, random, 50);
        CHECK(test::mutate(m.pit, m.context, random, 1000) > 10);
    }
}

TEST_CASE("an image from the future or with impossible bits is refused") {
    machine m;
    m.out(0x43, 0x34);
    m.count(0, 1000);
    m.go_to(10);
    auto const good = m.pit.save(m.context);
    auto const refused = [&](auto change) {
        auto image = good;
        change(image);
        auto const before = m.pit.save(m.context);
        return m.pit.restore(m.context, image) == status::invalid_argument and
               test::same(before, m.pit.save(m.context));
    };
    CHECK(refused([](auto& i) { i.channel[0].time_target += 10'000'000; }));
    CHECK(refused([](auto& i) { i.channel[0].time_target = -1; }));
    CHECK(refused([](auto& i) { i.channel[1].status |= 0x80; }));
    CHECK(refused([](auto& i) { i.channel[0].status |= 0x20; }));
    CHECK(refused([](auto& i) { i.channel[0].mode |= 0x40; }));
    CHECK(refused([](auto& i) { i.channel[2].time_target = -100'000; }));
    CHECK_FALSE(refused([](auto&) {}));
}
