// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "vmx_look.hpp"

#include <hv/backends/vmx/preemption_timer.hpp>

#include <cstdint>

using namespace hv;
using namespace hv::test;
using backends::vmx::preemption_timer;

namespace {

/// What a processor counts from `now` on: how far its TSC is when the timer has gone to zero.
[[nodiscard]] auto runs_out_at(std::uint64_t now, std::uint32_t count, unsigned shift) -> std::uint64_t {
    return count == 0 ? now : ((now >> shift) + count) << shift;
}

constexpr std::uint32_t field{0x482e};

} // namespace

TEST_CASE("the timer runs out at the deadline, or less than one of its units later") {
    for (unsigned const shift : {0u, 1u, 5u, 7u, 31u})
        for (std::uint64_t const now : {0ull, 1ull, 0x7full, 0x80ull, 0x1234'5678'9abcull})
            for (std::uint64_t const left : {1ull, 2ull, 0x7full, 0x80ull, 0x81ull, 0xffff'fffull}) {
                preemption_timer timer{static_cast<std::uint8_t>(shift)};
                timer.end_at(now + left, 0);
                auto const end = runs_out_at(now, timer.count_from(now), shift);
                CHECK(end >= now + left);
                CHECK(end < now + left + (1ull << shift));
            }
}

TEST_CASE("a deadline that has passed ends the stay at once, and one too far away at the last count") {
    for (unsigned const shift : {0u, 5u, 31u}) {
        preemption_timer timer{static_cast<std::uint8_t>(shift)};
        timer.end_at(100, 0);
        CHECK(timer.count_from(100) == 0);
        CHECK(timer.count_from(UINT64_MAX) == 0);
        timer.end_at(UINT64_MAX, 0);
        CHECK(timer.count_from(0) == UINT32_MAX);
        CHECK(timer.count_from(UINT64_MAX - 1) == (shift == 0 ? 1 : runs_out_at(UINT64_MAX - 1, 1, shift) == 0));
    }
}

TEST_CASE("the next stay has its least ticks however late it begins, and only the next") {
    preemption_timer timer{0};
    timer.end_at(100, 30);
    CHECK(timer.count_from(5000) == 30);
    CHECK(timer.count_from(5000) == 0);
    timer.end_at(9000, 30);
    CHECK(timer.count_from(5000) == 4000);
    CHECK(timer.count_from(8990) == 10);
}

TEST_CASE("each entry carries what is left until the deadline, and the exit is a deadline") {
    vmx_seat seat;
    seat.host.set_msr(0x485, 0x4000'01e5); // the timer counts each 32nd tick
    modelled_vmx::vm machine;
    modelled_vmx::vcpu cpu;
    REQUIRE(machine.create(seat.host, {.nested_root = seat.tables.root(seat.host)}) == status::ok);
    REQUIRE(cpu.create(seat.host, machine) == status::ok);
    REQUIRE(cpu.can_bound_stay());
    seat.cpu.detach(seat.host, seat.processors[0]);
    cpu.attach(seat.host, seat.processors[0]);
    auto const count = [&](nanoseconds now) {
        seat.host.set_now(now);
        std::uint64_t value{};
        seat.model.next = [&](vmx_model::guest& g) {
            CHECK((g.state.at(0x4000) & 1u << 6) != 0);
            CHECK((g.state.at(0x400c) & 1u << 22) == 0);
            value = g.state.at(field);
            g.exit(52);
        };
        recording_handler handler;
        CHECK(modelled_vmx::enter(seat.host, seat.processors[0], cpu, handler) == verdict::leave);
        CHECK(handler.last() == "deadline");
        CHECK(cpu.instruction_length() == 0);
        return value;
    };
    CHECK(count(0) == 0xffff'ffff); // nobody asked for an end
    cpu.bound_stay(2'400'000, 0);   // 1 ms
    CHECK(count(0) == 75'000);
    CHECK(count(500'000) == 37'500);
    CHECK(count(500'000) == 37'500);
    CHECK(count(1'000'000) == 0);
    CHECK(count(2'000'000) == 0);
    cpu.detach(seat.host, seat.processors[0]);
    cpu.destroy(seat.host);
    machine.destroy(seat.host);
    seat.cpu.attach(seat.host, seat.processors[0]);
}

TEST_CASE("a processor without the timer has neither its control nor its field, and leaves deadlines to the host") {
    vmx_seat seat;
    CHECK(backends::vmx::read_features(seat.host).report().bounded_stay);
    for (auto const msr : {0x481u, 0x48du})
        seat.host.set_msr(msr, seat.host.read_msr(msr).value & ~(1ull << 38));
    CHECK_FALSE(backends::vmx::read_features(seat.host).report().bounded_stay);
    modelled_vmx::vm machine;
    modelled_vmx::vcpu cpu;
    REQUIRE(machine.create(seat.host, {.nested_root = seat.tables.root(seat.host)}) == status::ok);
    REQUIRE(cpu.create(seat.host, machine) == status::ok);
    CHECK_FALSE(cpu.can_bound_stay());
    seat.cpu.detach(seat.host, seat.processors[0]);
    cpu.attach(seat.host, seat.processors[0]);
    seat.model.next = [](vmx_model::guest& g) {
        CHECK((g.state.at(0x4000) & 1u << 6) == 0);
        g.exit(10);
    };
    recording_handler handler;
    CHECK(modelled_vmx::enter(seat.host, seat.processors[0], cpu, handler) == verdict::leave);
    CHECK(handler.last() == "cpuid");
    cpu.detach(seat.host, seat.processors[0]);
    cpu.destroy(seat.host);
    machine.destroy(seat.host);
    seat.cpu.attach(seat.host, seat.processors[0]);
}

TEST_CASE("a VM that scales its TSC has the multiplier in its VMCS; others have neither control nor field") {
    constexpr std::uint64_t half{1ull << 47};
    vmx_seat plain;
    look(plain, [&](vmx_model::guest& g) {
        CHECK((g.state.at(0x401e) & 1u << 25) == 0);
        CHECK(g.state.at(0x2032) == vmx_model::garbage); // nobody wrote it
    });
    vmx_seat seat{{.tsc_ratio = half}};
    seat.cpu.set_tsc_offset(0x1234);
    for (int i{0}; i != 2; ++i)
        look(seat, [&](vmx_model::guest& g) {
            CHECK((g.state.at(0x401e) & 1u << 25) != 0);
            CHECK(g.state.at(0x2032) == half);
            CHECK(g.state.at(0x2010) == 0x1234);
        });
    modelled_vmx::vm machine;
    CHECK(backends::vmx::read_features(seat.host).report().tsc_scaling);
    seat.host.set_msr(0x48b, seat.host.read_msr(0x48b).value & ~(1ull << 57));
    CHECK_FALSE(backends::vmx::read_features(seat.host).report().tsc_scaling);
    auto const before = seat.host.bytes_in_use();
    CHECK(machine.create(seat.host, {.nested_root = seat.tables.root(seat.host), .tsc_ratio = half}) ==
          status::no_device);
    CHECK(seat.host.bytes_in_use() == before);
}
