// SPDX-License-Identifier: BSD-2-Clause
#include "whole_machine.hpp"

#include <hv/vcpu_run_state.hpp>

#include <catch2/catch.hpp>

#include <cstdint>
#include <functional>
#include <utility>

using namespace hv;
using namespace hv::test;

namespace {

struct two_way_pc : fake_pc {
    static constexpr unsigned max_vcpus{2};
};
template <typename Host>
struct two : whole_machine<two_way_pc, Host> {
    [[nodiscard]] auto second() -> auto& { return this->machine->cpu(1); }
    [[nodiscard]] auto run_second() -> run_end {
        second().hardware().run_script({script::exit{exits::pause{}}});
        return second().run();
    }
};
/// Lets a test do something while an exit is served.
struct meanwhile {
    template <typename Exit>
    auto on(Exit const&, auto&) -> verdict
        requires(std::is_same_v<Exit, exits::hlt> or std::is_same_v<Exit, exits::io_port>)
    {
        if (what)
            std::exchange(what, nullptr)();
        return verdict::not_mine;
    }
    static inline std::function<void()> what{};
};
struct busy_pc : two_way_pc {
    using handlers = exit_chain<leave_at_pause, meanwhile>;
};
constexpr auto init = run_state::init, run = run_state::run;
constexpr auto pending_init = run_state::pending_init, pending_start_up = run_state::pending_start_up;

} // namespace

TEMPLATE_TEST_CASE("at power-on the first processor runs and the others wait for start-up", "", hosted::serial_host,
                   hosted::host) {
    two<TestType> m;
    CHECK(run_state_of(m.cpu()) == run_state{run});
    CHECK(run_state_of(m.second()) == run_state{init});
    CHECK(m.run_second() == run_end::run_state);
}

TEMPLATE_TEST_CASE("INIT and start-up start a processor at the page that the vector names", "", hosted::serial_host,
                   hosted::host) {
    two<TestType> m;
    inject_start_up(m.second(), 0x9f);
    CHECK(m.run_second() == run_end::left);
    CHECK(run_state_of(m.second()) == run_state{init | run});
    auto const& cs = m.second().hardware().segment(x86::segment_name::cs);
    CHECK(cs.base == 0x9f000);
    CHECK(cs.selector == 0x9f00);
    CHECK(m.second().rip() < 0x10); // it stands at the PAUSE
    m.second().set_gpr(x86::gpr::rbx, 5);
    inject_start_up(m.second(), 0x12); // it runs: this is for nobody
    CHECK(m.run_second() == run_end::left);
    CHECK(m.second().gpr(x86::gpr::rbx) == 5);
    CHECK(m.second().hardware().segment(x86::segment_name::cs).base == 0x9f000);
    inject_init(m.second());
    CHECK(m.run_second() == run_end::run_state);
    CHECK(run_state_of(m.second()) == run_state{init});
    CHECK(m.second().gpr(x86::gpr::rbx) == 0);
}

TEST_CASE("what is pending is shown until the processor looks, and INIT drops a start-up that came before") {
    two<hosted::host> m;
    inject_start_up(m.second(), 0x34);
    CHECK(run_state_of(m.second()) == run_state{init | pending_start_up, 0x34});
    inject_init(m.second());
    CHECK(run_state_of(m.second()) == run_state{init | pending_init});
    CHECK(m.run_second() == run_end::run_state);
    CHECK(run_state_of(m.second()) == run_state{init});
}

TEST_CASE("every run state is taken and given back, pending INIT included") {
    for (std::uint32_t const bits : {0u, init, run, init | run})
        for (std::uint32_t const pending : {0u, pending_init, pending_start_up, pending_init | pending_start_up}) {
            two<hosted::host> m;
            run_state const wanted{bits | pending, static_cast<std::uint8_t>((pending & pending_start_up) ? 0x56 : 0)};
            CHECK(set_run_state(m.second(), wanted) == status::ok);
            CHECK(run_state_of(m.second()) == wanted);
            bool const started{(pending & pending_start_up) != 0 and ((pending & pending_init) != 0 or bits == init)};
            bool const runs{started or ((bits & run) != 0 and (pending & pending_init) == 0)};
            INFO(bits << " " << pending);
            CHECK(m.second().is_ready() == runs);
            CHECK(m.run_second() == (runs ? run_end::left : run_end::run_state));
            CHECK((m.second().hardware().segment(x86::segment_name::cs).base == 0x56000) == started);
        }
}

TEMPLATE_TEST_CASE("bits that are no run state are refused, and nothing changes", "", hosted::serial_host,
                   hosted::host) {
    two<TestType> m;
    for (std::uint32_t bit{0}; bit != 32; ++bit)
        if (bit != 0 and bit != 1 and bit != 14 and bit != 15) {
            CHECK(set_run_state(m.second(), {run | 1u << bit}) == status::invalid_argument);
            CHECK(run_state_of(m.second()) == run_state{init});
        }
}

TEMPLATE_TEST_CASE("a start-up without INIT moves no processor that is off, and INIT does", "", hosted::serial_host,
                   hosted::host) {
    two<TestType> m;
    CHECK(set_run_state(m.second(), {}) == status::ok);
    inject_start_up(m.second(), 0x34);
    CHECK(m.run_second() == run_end::run_state);
    CHECK(run_state_of(m.second()) == run_state{});
    inject_init(m.second());
    CHECK(m.run_second() == run_end::run_state);
    CHECK(run_state_of(m.second()) == run_state{init});
    inject_start_up(m.second(), 0x35);
    CHECK(m.run_second() == run_end::left);
}

TEST_CASE("a processor that halts by its HLT runs, and stays where it is when it is set to run") {
    two<hosted::host> m;
    m.apic().set_virtual_wire();
    m.interrupts(true);
    m.guest().run_script({script::exit{exits::hlt{}, 1}, script::exit{exits::pause{}}});
    CHECK(m.cpu().run() == run_end::run_state);
    CHECK(run_state_of(m.cpu()) == run_state{run});
    CHECK(set_run_state(m.cpu(), {run}) == status::ok);
    CHECK(m.cpu().run() == run_end::run_state);
    m.machine->deliver({.destination = 0, .vector = 0x61}, nullptr);
    CHECK(m.cpu().is_ready());
    CHECK(m.cpu().run() == run_end::left);
}

TEST_CASE("INIT and start-up that arrive while an exit is served find the processor as at any other time") {
    auto const exit = GENERATE(script::step{script::exit{exits::hlt{}, 1}}, whole_machine<>::io(0x80, 1, false));
    bool const flags_on{GENERATE(false, true)}, together{GENERATE(false, true)};
    whole_machine<busy_pc, hosted::host> m;
    auto& cpu = m.machine->cpu(1);
    std::uint64_t began_at{99};
    inject_start_up(cpu, 0x10);
    cpu.hardware().run_script({script::set_flags{flags_on ? x86::rflags::interrupt : 0}, exit,
                               script::act{[&](auto& c) { began_at = c.rip(); }}, script::exit{exits::pause{}}});
    meanwhile::what = [&] {
        inject_init(cpu);
        if (together)
            inject_start_up(cpu, 0x9f);
    };
    if (not together) {
        CHECK(cpu.run() == run_end::run_state);
        CHECK(run_state_of(cpu) == run_state{init});
        CHECK(cpu.rip() == 0xfff0);
        CHECK_FALSE(cpu.is_ready());
        inject_start_up(cpu, 0x9f);
        CHECK(cpu.is_ready());
    }
    CHECK(cpu.run() == run_end::left);
    CHECK(cpu.hardware().segment(x86::segment_name::cs).base == 0x9f000);
    CHECK(began_at == 0);
}

TEST_CASE("a processor that takes a message counts as awake from then on, also where it was only called back") {
    two<hosted::host> m;
    inject_start_up(m.second(), 0x10);
    m.second().hardware().run_script({script::exit{exits::hlt{}, 1}, script::exit{exits::pause{}}});
    CHECK(m.second().run() == run_end::run_state);
    CHECK_FALSE(m.second().is_ready());
    CHECK(m.second().sleeps_for_ever());
    CHECK(m.machine->barrier_cpu(1) == status::ok);
    CHECK(m.second().is_ready());
    m.second().post(posted_requests::request::nmi);
    CHECK(m.second().run() == run_end::barrier);
    CHECK_FALSE(m.second().sleeps_for_ever());
    CHECK(m.second().run() == run_end::left);
    CHECK(m.second().hardware().delivered == std::vector{nmi_event});
}

TEMPLATE_TEST_CASE("INIT of the first processor resets the machine, which has no firmware", "", hosted::serial_host,
                   hosted::host) {
    two<TestType> m;
    inject_init(m.cpu());
    m.guest().run_script({script::exit{exits::pause{}}});
    CHECK(m.cpu().run() == run_end::stopped);
    CHECK(m.stopped() == stop_kind::reset);
    CHECK(m.machine->reason().source == 0);
}

TEMPLATE_TEST_CASE("a reset makes everything anew and INIT what it touches; whether it runs stays", "",
                   hosted::serial_host, hosted::host) {
    two<TestType> m;
    auto& cpu = m.cpu();
    auto const change = [&cpu] {
        cpu.set_gpr(x86::gpr::rbx, 5);
        cpu.set_rip(0x1234);
        REQUIRE(cpu.hardware().set_msr(x86::msr::ia32_star, 0x77) == status::ok);
        REQUIRE(cpu.hardware().set_msr(x86::msr::ia32_pat, 0x0006060606060606) == status::ok);
        cpu.hardware().set_xcr0(7);
        cpu.hardware().set_cr0(0x8000'0011 | x86::cr0::nw | x86::cr0::cd);
        cpu.events().raise_nmi();
    };
    auto const star = [&cpu] { return cpu.hardware().msr(x86::msr::ia32_star).value; };
    change();
    CHECK(reset_processor(cpu, reset_kind::init) == status::ok);
    CHECK(cpu.gpr(x86::gpr::rbx) == 0);
    CHECK(cpu.gpr(x86::gpr::rdx) == 0x600);
    CHECK(cpu.rip() == 0xfff0);
    CHECK(cpu.hardware().cr0() == 0x60000010);
    CHECK(cpu.events().empty());
    CHECK(star() == 0x77);
    CHECK(cpu.hardware().msr(x86::msr::ia32_pat).value == 0x0006060606060606);
    CHECK(cpu.hardware().xcr0() == 7);
    CHECK(run_state_of(cpu) == run_state{run});
    change();
    CHECK(reset_processor(cpu, reset_kind::reset) == status::ok);
    CHECK(cpu.gpr(x86::gpr::rbx) == 0);
    CHECK(star() == 0);
    CHECK(cpu.hardware().msr(x86::msr::ia32_pat).value == x86::pat_at_reset);
    CHECK(cpu.hardware().xcr0() == 1);
    CHECK(run_state_of(cpu) == run_state{run});
    change();
    CHECK(reset_processor(cpu, static_cast<reset_kind>(2)) == status::invalid_argument);
    CHECK(cpu.gpr(x86::gpr::rbx) == 5);
    CHECK(cpu.rip() == 0x1234);
}
