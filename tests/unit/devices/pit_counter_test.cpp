// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/pit_counter.hpp>

#include <tests/unit/devices/slow_pit_counter.hpp>

#include <cstdint>
#include <cstring>
#include <random>

using hv::pit_counter;

namespace {

auto to_raw(long n, bool bcd) -> std::uint16_t {
    if (not bcd)
        return static_cast<std::uint16_t>(n);
    n %= 10000;
    return static_cast<std::uint16_t>(n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10);
}

/// Both counters, driven alike.
struct pair {
    pit_counter fast{};
    hv::test::slow_pit_counter slow{};
    pit_counter::cycle now{1};
    bool bcd{};

    void program(unsigned mode, bool in_bcd) {
        bcd = in_bcd;
        fast.program(static_cast<std::uint8_t>(0x30 | mode << 1 | (in_bcd ? 1 : 0)));
        slow.program(mode, in_bcd);
    }
    void write(long n) {
        auto const raw = to_raw(n, bcd);
        fast.advance(now);
        fast.write(static_cast<std::uint8_t>(raw), now);
        fast.write(static_cast<std::uint8_t>(raw >> 8), now);
        slow.write_count(n);
    }
    void gate(bool level) {
        fast.set_gate(level, now);
        slow.set_gate(level);
    }
    void pulse() {
        ++now;
        slow.pulse();
        fast.advance(now);
    }
    auto count() -> std::uint16_t {
        fast.latch_count(now);
        auto const low = fast.read(now);
        return static_cast<std::uint16_t>(low | fast.read(now) << 8);
    }
    auto status() -> std::uint8_t {
        fast.latch_status(now);
        return fast.read(now);
    }
    /// Compares everything visible. Not in the cycle of a write, where the load is under way.
    auto agree() -> bool {
        auto const s = status();
        if (fast.output(now) != slow.out or ((s & 0x80) != 0) != slow.out or ((s & 0x40) != 0) != slow.null_count)
            return false;
        return not slow.loaded or count() == to_raw(slow.element, bcd);
    }
};

} // namespace

TEST_CASE("a counter does in every mode, at every clock pulse, what the datasheet says") {
    auto const mode = GENERATE(0u, 1u, 2u, 3u, 4u, 5u);
    auto const bcd = GENERATE(false, true);
    CAPTURE(mode, bcd);
    std::mt19937 random{mode * 2 + bcd};
    for (unsigned run{0}; run != 60; ++run) {
        pair p;
        p.program(mode, bcd);
        // An even count below 2 is no square wave and no rate.
        auto const any_count = [&] { return run % 4 == 3 ? 65000 % (bcd ? 9000 : 65536) : 2 + long(random() % 12); };
        p.write(any_count());
        p.gate(false);
        p.pulse();
        p.gate(true); // starts modes 1 and 5
        p.pulse();
        for (unsigned i{0}; i != 400; ++i) {
            if (random() % 16 == 0)
                p.gate(not p.slow.gate);
            else if (random() % 24 == 0)
                p.write(any_count());
            else if (random() % 60 == 0) {
                p.program(mode, bcd);
                p.pulse();
                p.write(any_count());
            } else if (random() % 8 == 0) {
                pit_counter restored;
                auto const image = p.fast.save();
                REQUIRE(restored.restore(image, p.now) == hv::status::ok);
                p.fast = restored;
                auto const again = restored.save();
                REQUIRE(std::memcmp(&again, &image, sizeof image) == 0);
            }
            auto const predicted = p.fast.rise_after(p.now);
            auto const was_high = p.fast.output(p.now);
            p.pulse();
            CAPTURE(run, i, p.now, p.slow.element, p.slow.out, p.slow.null_count);
            REQUIRE(p.agree());
            if (not was_high and p.slow.out)
                REQUIRE(predicted == p.now);
            if (predicted != pit_counter::no_cycle)
                REQUIRE(predicted >= p.now);
        }
    }
}

TEST_CASE("a count of zero is the largest count") {
    pit_counter c;
    c.program(0x30);
    c.write(0, 0);
    c.write(0, 0);
    CHECK(c.rise_after(0) == 1 + 65536);
    CHECK_FALSE(c.output(65536));
    CHECK(c.output(65537));
    c.program(0x35);
    c.write(0, 0);
    c.write(0, 0);
    CHECK(c.rise_after(0) == 1 + 10000);
}

TEST_CASE("after the terminal count the element wraps and goes on") {
    pit_counter c;
    c.program(0x30);
    c.write(4, 0);
    c.write(0, 0);
    c.latch_count(1 + 4 + 3);
    CHECK(c.read(8) == 0xfd);
    CHECK(c.read(8) == 0xff);
    c.program(0x31);
    c.write(4, 0);
    c.write(0, 0);
    c.latch_count(1 + 4 + 3);
    CHECK(c.read(8) == 0x97);
    CHECK(c.read(8) == 0x99);
}

TEST_CASE("the first byte of a mode 0 count stops the counter and takes OUT low") {
    pit_counter c;
    c.program(0x30);
    c.write(2, 0);
    c.write(0, 0);
    CHECK(c.output(10));
    c.write(2, 10);
    CHECK_FALSE(c.output(1000));
    CHECK(c.rise_after(10) == pit_counter::no_cycle);
    c.write(0, 1000);
    CHECK(c.rise_after(1000) == 1003);
}

TEST_CASE("one-byte counts leave the other byte zero") {
    pit_counter c;
    c.program(0x14); // mode 2, low byte
    c.write(0x12, 0);
    CHECK(c.period() == 0x12);
    c.latch_count(1);
    CHECK(c.read(1) == 0x12);
    c.program(0x24); // mode 2, high byte
    c.write(0x12, 1);
    CHECK(c.period() == 0x1200);
    c.latch_count(2);
    CHECK(c.read(2) == 0x12);
    CHECK(c.read(2 + 0x100) == 0x11); // one read took the latch back
}

TEST_CASE("a latched count waits until it is read and a second latch command is ignored") {
    pit_counter c;
    c.program(0x34);
    c.write(0x34, 0);
    c.write(0x12, 0);
    c.latch_count(1 + 0x10);
    c.latch_count(1 + 0x20);
    CHECK(c.read(100) == 0x24);
    CHECK(c.read(100) == 0x12);
    CHECK(c.read(1 + 0x34) == 0x00); // not latched any more
    CHECK(c.read(1 + 0x34) == 0x12);
}

TEST_CASE("a latched status comes before a latched count") {
    pit_counter c;
    c.program(0x34);
    c.write(0x34, 0);
    c.write(0x12, 0);
    c.latch_count(1);
    c.latch_status(1);
    c.latch_status(0x1234); // OUT is low here; ignored
    CHECK(c.read(50) == 0xb4);
    CHECK(c.read(50) == 0x34);
    CHECK(c.read(50) == 0x12);
}

TEST_CASE("no mutation of a saved counter makes it misbehave") {
    std::mt19937_64 random{8254};
    unsigned refused{};
    for (unsigned i{0}; i != 200'000; ++i) {
        hv_pit_channel_v1 image{};
        image.initial = static_cast<std::uint16_t>(random());
        image.reg_cr = static_cast<std::uint16_t>(random());
        image.mode = static_cast<std::uint8_t>(random());
        image.status = static_cast<std::uint8_t>(random());
        image.time_target = static_cast<std::int64_t>(random() >> random() % 64);
        if (random() % 3 == 0)
            image.time_target = -image.time_target;
        auto now = static_cast<pit_counter::cycle>(random() >> 12);
        if (random() % 2 == 0) {
            image.mode &= 0x3f;
            image.status &= 0x1f;
            now = pit_counter::cycle_at(hv::instant{image.time_target < 0 ? 0 : image.time_target}) + 5;
        }
        pit_counter c;
        auto const before = c.save();
        if (c.restore(image, now) != hv::status::ok) {
            ++refused;
            auto const after = c.save();
            REQUIRE(std::memcmp(&before, &after, sizeof before) == 0);
            continue;
        }
        for (unsigned k{0}; k != 8; ++k) {
            now += static_cast<pit_counter::cycle>(random() % 100'000);
            c.advance(now);
            static_cast<void>(c.output(now));
            static_cast<void>(c.rise_after(now));
            static_cast<void>(c.read(now));
            c.set_gate(random() % 2 == 0, now);
            c.write(static_cast<std::uint8_t>(random()), now);
            c.latch_status(now);
        }
    }
    CHECK(refused > 10'000);
    CHECK(refused < 190'000);
}
