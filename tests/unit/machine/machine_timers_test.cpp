// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;
using events = std::vector<event>;
namespace msrs = hv::x86::msr;

namespace {

script::step const look{script::exit{exits::host_interrupt{}}};
constexpr nanoseconds least_wait{10'000};

/// A PC in x2APIC mode, with a host clock that does not start at 0: instants and host times differ.
struct timed : whole_machine<> {
    static constexpr nanoseconds start{7'000'000};
    static constexpr std::uint64_t tsc_frequency{2'000'000'000};

    timed() : whole_machine{{.memory = std::size_t{64} << 20, .tsc_frequency = tsc_frequency}, start} {
        apic().set_virtual_wire();
        if (not wrmsr(msrs::ia32_apic_base, 0xfee00d00))
            throw std::runtime_error{"no x2APIC"};
    }
    void start_apic_timer(std::uint32_t entry, std::uint32_t count, std::uint32_t divide = 0xb) {
        REQUIRE(wrmsr(0x832, entry));
        REQUIRE(wrmsr(0x83e, divide));
        REQUIRE(wrmsr(0x838, count));
    }
    /// What the guest takes once the host's clock stands there.
    [[nodiscard]] auto looks_at(nanoseconds when) -> events {
        host.set_now(when);
        interrupts(true);
        run({look});
        return delivered();
    }
    void end_of_interrupt() { REQUIRE(wrmsr(0x80b, 0)); }
};

} // namespace

TEST_CASE("without timers the host's timer is off") {
    timed m;
    m.run({look});
    CHECK_FALSE(m.host.timer());
}

TEST_CASE("the local APIC's timer arms the host's for the moment it fires, and once only if one-shot") {
    timed m;
    m.start_apic_timer(0x41, 1 << 20); // 2^27 Hz: 2^-7 s
    constexpr auto due = timed::start + 7'812'500;
    CHECK(m.host.timer() == due);
    CHECK(m.looks_at(due - 1).empty());
    CHECK(m.host.timer() == due - 1 + least_wait);
    CHECK(m.looks_at(due) == events{external(0x41)});
    CHECK_FALSE(m.host.timer());
    m.end_of_interrupt();
    CHECK(m.looks_at(2 * due).empty());
}

TEST_CASE("a periodic local APIC timer does not drift, however late it is served") {
    timed m;
    m.start_apic_timer(0x20041, 1 << 20);
    nanoseconds due{timed::start};
    for (unsigned i{0}; i != 10; ++i) {
        due += 7'812'500;
        REQUIRE(m.host.timer() == due);
        CHECK(m.looks_at(due + 1000 * i) == events{external(0x41)});
        m.end_of_interrupt();
    }
    REQUIRE(m.wrmsr(0x838, 0));
    CHECK_FALSE(m.host.timer());
}

TEST_CASE("a TSC deadline arms the host's timer, moves with WRMSR to the TSC, and lies no earlier than asked") {
    timed m;
    REQUIRE(m.wrmsr(0x832, 0x40041));
    REQUIRE(m.wrmsr(msrs::ia32_tsc_deadline, 4'000'001));
    CHECK(m.host.timer() == timed::start + 2'000'001); // half a nanosecond is rounded up
    REQUIRE(m.wrmsr(msrs::ia32_tsc, 2'000'000));       // the TSC jumps ahead: the deadline comes nearer
    CHECK(m.host.timer() == timed::start + 1'000'001);
    REQUIRE(m.wrmsr(msrs::ia32_tsc, 0));
    CHECK(m.host.timer() == timed::start + 2'000'001);
    CHECK(m.looks_at(timed::start + 2'000'000).empty());
    CHECK(m.looks_at(timed::start + 2'000'001) == events{external(0x41)});
    REQUIRE(m.rdmsr(msrs::ia32_tsc_deadline));
    CHECK(m.msr == 0);
    CHECK_FALSE(m.host.timer());
    m.end_of_interrupt();
    // Behind the jump the deadline is past: it fires at once.
    REQUIRE(m.wrmsr(msrs::ia32_tsc_deadline, 100'000'000));
    REQUIRE(m.wrmsr(msrs::ia32_tsc, 100'000'000));
    CHECK(m.host.timer() == m.host.now() + least_wait);
    CHECK(m.looks_at(m.host.now()) == events{external(0x41)});
}

TEST_CASE("a TSC deadline that never comes is no deadline, and no overflow") {
    for (auto const frequency : {std::uint64_t{500'000'000}, std::uint64_t{1'000'000'000}, timed::tsc_frequency}) {
        whole_machine<> m{{.memory = std::size_t{64} << 20, .tsc_frequency = frequency}, 7'000'000};
        m.apic().set_virtual_wire();
        REQUIRE(m.wrmsr(0x6e0, 0)); // ignored in the other modes
        m.write_mmio(0xfee00320, 0x40041);
        for (auto const tsc : {0x7fff'ffff'ffff'ffffull, 0x4000'0000'0000'0000ull, 0x0400'0000'0000'0000ull}) {
            REQUIRE(m.wrmsr(msrs::ia32_tsc_deadline, tsc));
            m.run({look});
            CHECK(m.host.timer().value_or(INT64_MAX) > 100'000'000'000'000); // a day
            CHECK(m.delivered().empty());
            REQUIRE(m.rdmsr(msrs::ia32_tsc_deadline));
            CHECK(m.msr == tsc);
        }
    }
}

TEST_CASE("PIT, HPET and RTC arm the host's timer, and the first of all decides") {
    timed m;
    m.out(0x43, 0x34); // counter 0, mode 2
    m.out(0x40, 0xa9);
    m.out(0x40, 0x04); // 1193: 999847.5 ns after it is loaded
    auto const pit = m.host.timer();
    REQUIRE(pit);
    CHECK(*pit >= m.host.now() + 999'848);
    CHECK(*pit <= m.host.now() + 999'848 + 2 * 839); // the counter's clock has its own edges
    m.out(0x70, 0x0b);
    m.out(0x71, 0x42); // periodic, 1024 Hz: 976562.5 ns
    auto const rtc = m.host.timer();
    REQUIRE(rtc);
    CHECK(*rtc > m.host.now());
    CHECK(*rtc <= m.host.now() + 976'563);
    m.write_mmio(0xfed00100, 0x4 | 24 << 9); // HPET timer 0: interrupt on line 24
    m.write_mmio(0xfed00108, 1000);
    m.write_mmio(0xfed00010, 1); // 2^24 Hz: 59604.6 ns
    CHECK(m.host.timer() == m.host.now() + 59'605);
    m.start_apic_timer(0x41, 1000); // 7450.6 ns
    CHECK(m.host.timer() == m.host.now() + least_wait);
    REQUIRE(m.wrmsr(0x838, 0));
    CHECK(m.host.timer() == m.host.now() + 59'605);
}

TEST_CASE("a PIT interrupt comes through the 8259 at its time, not before") {
    timed m;
    for (auto const& [port, value] : {std::pair{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0xfe}})
        m.out(static_cast<std::uint16_t>(port), static_cast<std::uint64_t>(value));
    m.out(0x43, 0x30); // mode 0: one-shot
    m.out(0x40, 0x00);
    m.out(0x40, 0x10);
    auto const due = m.host.timer();
    REQUIRE(due);
    CHECK(m.looks_at(*due - 1).empty());
    CHECK(m.looks_at(*due) == events{external(0x20)});
    CHECK_FALSE(m.host.timer());
}

TEST_CASE("a timer that is always due leaves the guest time to execute") {
    timed m;
    m.start_apic_timer(0x20041, 1); // 7.45 ns
    REQUIRE(m.host.timer());
    nanoseconds last{m.host.now()};
    for (unsigned i{0}; i != 20; ++i) {
        auto const next = m.host.timer();
        REQUIRE(next);
        CHECK(*next >= last + least_wait);
        (void)m.looks_at(*next);
        last = *next;
        m.end_of_interrupt();
    }
}

TEST_CASE("an interrupt of the host at any time serves only what is due") {
    timed m;
    m.start_apic_timer(0x41, 1 << 20);
    for (unsigned i{1}; i != 100; ++i)
        CHECK(m.looks_at(timed::start + 7'000'000 / 100 * i).empty());
    CHECK(m.looks_at(timed::start + 7'812'500) == events{external(0x41)});
}

TEST_CASE("the host's timer is armed anew when a machine runs again, since others used it meanwhile") {
    timed m;
    m.start_apic_timer(0x41, 1 << 20);
    auto const due = m.host.timer();
    m.host.arm_timer(INT64_MAX);
    m.run({look});
    CHECK(m.host.timer() == due);
    REQUIRE(m.wrmsr(0x838, 0));
    m.host.arm_timer(12345);
    m.run({look});
    CHECK_FALSE(m.host.timer());
}

namespace {

/// VMCALL takes as many nanoseconds as RBX says.
struct time_passes {
    auto on(exits::hypercall const&, auto& cpu) -> verdict {
        cpu.host().advance(static_cast<nanoseconds>(cpu.gpr(x86::gpr::rbx)));
        return verdict::advance;
    }
};
struct slow_pc : fake_pc {
    using handlers = exit_chain<leave_at_pause, time_passes>;
};

/// A processor that ends stays itself, and a guest that computes.
struct bounded : whole_machine<slow_pc> {
    bounded() : whole_machine{{.memory = std::size_t{64} << 20, .tsc_frequency = timed::tsc_frequency}, timed::start} {
        apic().set_virtual_wire();
        if (not wrmsr(msrs::ia32_apic_base, 0xfee00d00))
            throw std::runtime_error{"no x2APIC"};
        guest().bounds_stay = true;
        host.arm_timer(INT64_MAX);
    }
    [[nodiscard]] auto deadlines() -> std::uint64_t { return stats().exits[exits::number_of<exits::deadline>]; }
    auto run_for(nanoseconds time) -> events {
        interrupts(true);
        run({script::set{x86::gpr::rbx, static_cast<std::uint64_t>(time)}, script::exit{exits::hypercall{}},
             script::set{x86::gpr::rbx, 0}});
        return delivered();
    }
};

} // namespace

TEST_CASE("where the processor ends the stay itself, the host's timer stays out of it but for HLT") {
    bounded m;
    REQUIRE(m.wrmsr(0x832, 0x41));
    REQUIRE(m.wrmsr(0x83e, 0xb));
    REQUIRE(m.wrmsr(0x838, 1 << 20));
    constexpr auto due = timed::start + 7'812'500;
    CHECK_FALSE(m.host.timer());
    CHECK(m.guest().stay_ends == due * 2 + 1); // 2 GHz; not a tick early
    CHECK(m.run_for(7'812'499).empty());
    CHECK(m.deadlines() == 0);
    CHECK(m.run_for(2) == events{external(0x41)});
    CHECK(m.deadlines() == 1);
    CHECK_FALSE(m.host.timer());
    REQUIRE(m.wrmsr(0x80b, 0));

    REQUIRE(m.wrmsr(0x838, 1 << 20));
    auto const then = m.host.now() + 7'812'500;
    m.interrupts(true);
    m.run({script::exit{exits::hlt{}}});
    CHECK(m.host.now() == then);
    CHECK(m.delivered() == events{external(0x41)});
}

TEST_CASE("a stay without a deadline, or with one that is years away, ends after a second and goes on") {
    bounded m;
    CHECK(m.run_for(0).empty());
    CHECK(m.guest().stay_ends == m.host.tsc() + timed::tsc_frequency + 1);
    REQUIRE(m.wrmsr(0x832, 0x40041));
    REQUIRE(m.wrmsr(msrs::ia32_tsc_deadline, 100ull * 365 * 86400 * timed::tsc_frequency));
    CHECK(m.guest().stay_ends == m.host.tsc() + timed::tsc_frequency + 1);
    CHECK(m.run_for(nanoseconds_per_second + 1).empty());
    CHECK(m.deadlines() == 1);
    CHECK(m.guest().stay_ends == m.host.tsc() + timed::tsc_frequency + 1);
}

TEST_CASE(
    "an NMI behind an exception goes in before the handler's first instruction, where the processor can stop there") {
    bounded m;
    m.cpu().raise_gp();
    m.cpu().events().raise_nmi();
    m.run({script::set{x86::gpr::rbx, 3}, look});
    CHECK(m.delivered() == events{event::make(x86::exception::general_protection, 0), nmi_event});
    CHECK(m.guest().steps_done() >= 1);
    CHECK(m.deadlines() == 1);
}
