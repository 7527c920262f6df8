// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/lapic_board.hpp>

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint32_t periodic{1u << 17};
constexpr std::uint32_t tsc_deadline{2u << 17};
constexpr std::uint32_t reserved_mode{3u << 17};
constexpr std::uint32_t vector{0x40};
constexpr std::uint32_t divide_by_1{0b1011};

/// One period of `count` at the undivided rate, as the timer must keep it: never early, less than 1 ns late.
auto period(std::uint64_t count) -> nanoseconds {
    return time_for(count, lapic::timer_frequency);
}

auto timer(std::uint32_t mode, std::uint32_t divide = divide_by_1) -> lapic_board {
    auto b = xapic();
    b.set(reg::lvt_timer, mode | vector);
    b.set(reg::divide_configuration, divide);
    return b;
}

/// Serves the timer's interrupt if it came; says whether it did.
auto served(lapic_board& b) -> bool {
    if (b.apic.pending_vector() != vector)
        return false;
    b.take(vector);
    b.end();
    return true;
}

/// Lets the clock go on to `until` in steps, and calls the timer at each deadline as a vm does. Counts interrupts.
auto run(lapic_board& b, instant until) -> unsigned {
    unsigned interrupts{};
    while (b.apic.deadline() <= until) {
        if (b.context.time < b.apic.deadline())
            b.context.time = b.apic.deadline();
        b.apic.expire(b.context);
        interrupts += served(b) ? 1 : 0;
    }
    b.context.time = until;
    return interrupts;
}

} // namespace

TEST_CASE("the timer counts 2^27 times a second, divided by each of the eight dividers") {
    struct {
        std::uint32_t configuration;
        unsigned divider;
    } const rows[]{{0b0000, 2},  {0b0001, 4},  {0b0010, 8},   {0b0011, 16},
                   {0b1000, 32}, {0b1001, 64}, {0b1010, 128}, {0b1011, 1}};
    for (auto const& row : rows) {
        auto b = timer(0, row.configuration);
        INFO("divider " << row.divider);
        b.set(reg::initial_count, (1u << 27) / row.divider);
        CHECK(b.apic.deadline() == instant{nanoseconds_per_second});
        b.context.advance(nanoseconds_per_second / 4);
        CHECK(b.get(reg::current_count) == (3u << 25) / row.divider);
    }
}

TEST_CASE("one-shot: one interrupt, not a nanosecond early, and the count stands at 0") {
    auto b = timer(0);
    b.context.time = {1'000'000'007};
    b.set(reg::initial_count, 1'000'000);
    CHECK(b.get(reg::initial_count) == 1'000'000);
    CHECK(b.get(reg::current_count) == 1'000'000);
    auto const due = b.apic.deadline();
    CHECK(due == b.context.time + period(1'000'000));
    b.context.time = due - 1;
    b.apic.expire(b.context);
    CHECK(b.apic.pending_vector() == -1);
    CHECK(b.get(reg::current_count) == 1);
    b.context.time = due;
    CHECK(b.get(reg::current_count) == 0);
    b.apic.expire(b.context);
    CHECK(served(b));
    CHECK(b.apic.deadline() == never);
    b.context.advance(nanoseconds_per_second);
    b.apic.expire(b.context);
    CHECK_FALSE(served(b));
    CHECK(b.get(reg::current_count) == 0);
    CHECK(b.get(reg::initial_count) == 1'000'000);
}

TEST_CASE("the current count falls by one with each tick and never exceeds the initial count") {
    auto b = timer(0, 0b1010); // 2^20 Hz
    b.set(reg::initial_count, 1000);
    for (unsigned tick{}; tick < 1000; ++tick) {
        b.context.time = instant{time_for(tick, 1u << 20)};
        CHECK(b.get(reg::current_count) == 1000 - tick);
    }
    auto fast = timer(0);
    fast.set(reg::initial_count, 12345);
    CHECK(fast.get(reg::current_count) == 12345);
    fast.context.advance(1);
    CHECK(fast.get(reg::current_count) == 12345); // a tick is 7.45 ns
}

TEST_CASE("CVE-2013-6367: an initial count of 0 stops the timer, with every divider, and reads of the count are safe") {
    for (auto const mode : {0u, periodic, tsc_deadline, reserved_mode})
        for (std::uint32_t configuration{}; configuration < 16; ++configuration) {
            auto b = timer(mode, configuration);
            CHECK(b.get(reg::current_count) == 0);
            b.set(reg::initial_count, 1000);
            b.context.advance(10);
            b.set(reg::initial_count, 0);
            CHECK(b.apic.deadline() == never);
            CHECK(b.get(reg::current_count) == 0);
            b.context.advance(nanoseconds_per_second);
            b.apic.expire(b.context);
            CHECK_FALSE(served(b));
            b.set(reg::divide_configuration, configuration ^ 1);
            CHECK(b.get(reg::current_count) == 0);
        }
}

TEST_CASE("periodic: the interrupts of an hour are those of the frequency, without drift") {
    auto b = timer(periodic);
    constexpr std::uint32_t count{134'217}; // just under 1 ms, and no whole number of nanoseconds
    b.set(reg::initial_count, count);
    auto const until = instant{60 * nanoseconds_per_second};
    auto const expected = ticks_in(60 * nanoseconds_per_second, lapic::timer_frequency) / count;
    CHECK(run(b, until) == expected);
    CHECK(b.apic.deadline() == instant{period((expected + 1) * count)});
}

TEST_CASE("periodic: the current count starts again with each period, served or not") {
    auto b = timer(periodic, 0b1010);
    b.set(reg::initial_count, 1u << 20);
    b.context.time = {nanoseconds_per_second / 2};
    CHECK(b.get(reg::current_count) == 1u << 19);
    b.context.time = {nanoseconds_per_second + nanoseconds_per_second / 4};
    CHECK(b.get(reg::current_count) == 3u << 18);
    b.apic.expire(b.context);
    CHECK(b.get(reg::current_count) == 3u << 18);
    CHECK(b.apic.deadline() == instant{2 * nanoseconds_per_second});
}

TEST_CASE("periodic: late by less than a period keeps the phase, late by more starts anew without a burst") {
    auto b = timer(periodic);
    b.set(reg::initial_count, 1u << 27);
    b.context.time = {nanoseconds_per_second + 900'000'000};
    b.apic.expire(b.context);
    CHECK(served(b));
    CHECK(b.apic.deadline() == instant{2 * nanoseconds_per_second});
    b.context.time = {12'300'000'000};
    b.apic.expire(b.context);
    CHECK(served(b));
    CHECK(b.apic.deadline() == instant{13'300'000'000});
    b.apic.expire(b.context);
    CHECK_FALSE(served(b));
    CHECK(run(b, {15'300'000'000}) == 3);
}

TEST_CASE("a write to the initial count starts the period again") {
    auto b = timer(periodic);
    b.set(reg::initial_count, 1u << 27);
    b.context.advance(nanoseconds_per_second / 2);
    b.set(reg::initial_count, 1u << 26);
    CHECK(b.apic.deadline() == instant{nanoseconds_per_second});
}

TEST_CASE("a new divider changes the rate and keeps the count") {
    for (auto const mode : {0u, periodic}) {
        auto b = timer(mode);
        b.set(reg::initial_count, 1u << 27);
        b.context.advance(nanoseconds_per_second / 2);
        b.set(reg::divide_configuration, 0b0001); // by 4
        CHECK(b.get(reg::current_count) == 1u << 26);
        CHECK(b.apic.deadline() == b.context.time + 2 * nanoseconds_per_second);
        b.context.advance(nanoseconds_per_second);
        CHECK(b.get(reg::current_count) == 1u << 25);
        b.context.advance(nanoseconds_per_second);
        b.apic.expire(b.context);
        CHECK(served(b));
        CHECK(b.apic.deadline() == (mode == 0 ? never : b.context.time + 4 * nanoseconds_per_second));
    }
}

TEST_CASE("a new divider does not lose an interrupt that is due") {
    auto b = timer(periodic);
    b.set(reg::initial_count, 1u << 27);
    b.context.time = {1'100'000'000};
    b.set(reg::divide_configuration, 0b0001);
    CHECK(b.apic.deadline() <= b.context.time);
    b.apic.expire(b.context);
    CHECK(served(b));
    CHECK(b.apic.deadline() == instant{5 * nanoseconds_per_second});
}

TEST_CASE("a masked timer counts on and interrupts nobody") {
    auto b = timer(periodic | 1u << 16);
    b.set(reg::initial_count, 1u << 27);
    b.context.advance(nanoseconds_per_second);
    b.apic.expire(b.context);
    CHECK_FALSE(served(b));
    b.set(reg::lvt_timer, periodic | vector);
    CHECK(run(b, {2 * nanoseconds_per_second}) == 1);
    b.set(reg::spurious_interrupt_vector, 0xff); // software-disabled
    CHECK(run(b, {3 * nanoseconds_per_second}) == 0);
    b.enable();
    b.set(reg::lvt_timer, periodic | vector);
    CHECK(run(b, {4 * nanoseconds_per_second}) == 1);
}

TEST_CASE("an illegal vector in the timer's entry is an error for each expiry") {
    auto b = timer(0);
    b.set(reg::lvt_timer, 0x05);
    b.set(reg::initial_count, 10);
    b.context.advance(1000);
    b.apic.expire(b.context);
    CHECK(b.apic.pending_vector() == -1);
    CHECK(b.errors() == x86::apic::esr::receive_illegal_vector);
}

TEST_CASE("one-shot and periodic share the running count") {
    auto b = timer(0);
    b.set(reg::initial_count, 1u << 27);
    b.context.advance(nanoseconds_per_second / 2);
    b.set(reg::lvt_timer, periodic | vector);
    CHECK(b.get(reg::current_count) == 1u << 26);
    CHECK(run(b, {2 * nanoseconds_per_second}) == 2);
    b.set(reg::lvt_timer, vector);
    CHECK(run(b, {9 * nanoseconds_per_second}) == 1);
    b.set(reg::lvt_timer, periodic | vector); // expired: only a new count starts it
    CHECK(b.apic.deadline() == never);
}

TEST_CASE("entering or leaving TSC-deadline mode disarms") {
    for (auto const mode : {0u, periodic}) {
        auto b = timer(mode);
        b.set(reg::initial_count, 1000);
        b.set(reg::lvt_timer, tsc_deadline | vector);
        CHECK(b.apic.tsc_deadline_mode());
        CHECK(b.apic.deadline() == never);
        CHECK(b.get(reg::current_count) == 0);
        b.set(reg::initial_count, 1000); // ignored in this mode
        CHECK(b.apic.deadline() == never);
        CHECK(b.get(reg::initial_count) == 0);
        CHECK(b.write_msr(0x6e0, 5'000'000));
        CHECK(b.apic.deadline() != never);
        b.set(reg::lvt_timer, tsc_deadline | 0x41); // the same mode: stays armed
        CHECK(b.apic.deadline() != never);
        b.set(reg::lvt_timer, mode | vector);
        CHECK(b.apic.deadline() == never);
        CHECK(b.read_msr(0x6e0) == 0);
        b.set(reg::lvt_timer, reserved_mode | vector);
        b.set(reg::initial_count, 1000);
        CHECK(b.write_msr(0x6e0, 5'000'000));
        CHECK(b.apic.deadline() == never);
    }
}

TEST_CASE("TSC deadline: fires when the guest's TSC gets there, and the MSR reads 0 again") {
    auto b = timer(tsc_deadline);
    b.context.tsc_at_zero = 1'000'000;
    CHECK(b.write_msr(0x6e0, 1'000'000 + 3'000));
    CHECK(b.read_msr(0x6e0) == 1'003'000);
    CHECK(b.apic.deadline() == instant{1500}); // at 2 GHz
    b.context.time = {1499};
    b.apic.expire(b.context);
    CHECK_FALSE(served(b));
    b.context.time = {1500};
    b.apic.expire(b.context);
    CHECK(served(b));
    CHECK(b.read_msr(0x6e0) == 0);
    CHECK(b.apic.deadline() == never);
}

TEST_CASE("TSC deadline: the past fires at once, 0 disarms, a new value replaces the old") {
    auto b = timer(tsc_deadline);
    b.context.time = {1'000'000};
    CHECK(b.write_msr(0x6e0, 1));
    CHECK(b.apic.deadline() <= b.context.time);
    b.apic.expire(b.context);
    CHECK(served(b));
    CHECK(b.write_msr(0x6e0, 4'000'000));
    CHECK(b.write_msr(0x6e0, 6'000'000));
    CHECK(b.apic.deadline() == instant{3'000'000});
    CHECK(b.write_msr(0x6e0, 0));
    CHECK(b.apic.deadline() == never);
    CHECK(b.write_msr(0x6e0, ~0ull)); // beyond all time: armed, and still read back
    CHECK(b.read_msr(0x6e0) == ~0ull);
    b.context.advance(nanoseconds_per_second);
    b.apic.expire(b.context);
    CHECK_FALSE(served(b));
    CHECK(b.read_msr(0x6e0) == ~0ull);
}

TEST_CASE("a timer that is due fires by the entry it was due under, however late it is served") {
    for (auto const mode : {0u, tsc_deadline}) {
        auto b = timer(mode | x86::apic::lvt::masked);
        auto const arm = [&] {
            if (mode == 0)
                b.set(reg::initial_count, 100);
            else
                CHECK(b.write_msr(0x6e0, 2 * static_cast<std::uint64_t>(b.context.time.since_creation + 1000)));
        };
        arm();
        b.context.time = b.apic.deadline();
        b.set(reg::lvt_timer, mode | vector); // it was masked when it was due
        CHECK_FALSE(served(b));
        CHECK(b.apic.deadline() == never);
        arm();
        b.context.time = b.apic.deadline();
        b.set(reg::lvt_timer, mode | x86::apic::lvt::masked | vector);
        CHECK(served(b));
    }
}

TEST_CASE("TSC deadline: setting the guest's TSC moves the deadline") {
    auto b = timer(tsc_deadline);
    CHECK(b.write_msr(0x6e0, 2'000'000));
    CHECK(b.apic.deadline() == instant{1'000'000});
    b.context.tsc_at_zero = 1'000'000;
    b.apic.tsc_changed(b.context);
    CHECK(b.apic.deadline() == instant{500'000});
    auto other = timer(0);
    other.set(reg::initial_count, 1000);
    auto const due = other.apic.deadline();
    other.apic.tsc_changed(other.context);
    CHECK(other.apic.deadline() == due);
}
