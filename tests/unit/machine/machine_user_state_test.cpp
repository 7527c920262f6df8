// SPDX-License-Identifier: BSD-2-Clause
#include "whole_machine.hpp"

#include <catch2/catch.hpp>

#include <type_traits>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

/// VMCALL takes 10 ns to serve.
struct slow_hypercall {
    auto on(exits::hypercall const&, auto& cpu) -> verdict {
        cpu.host().advance(10);
        return verdict::advance;
    }
};
struct counting_pc : fake_pc {
    using handlers = exit_chain<leave_at_pause, slow_hypercall>;
    static constexpr unsigned max_vcpus{2};
    static constexpr bool user_states{true};
};

template <typename Host>
struct counting : whole_machine<counting_pc, Host> {
    /// Guest code that takes this long.
    [[nodiscard]] auto takes(nanoseconds time) -> script::step {
        return script::act{[this, time](auto&) { this->host.advance(time); }};
    }
    [[nodiscard]] auto spent(unsigned id = 0) -> std::vector<nanoseconds> {
        std::vector<nanoseconds> all;
        for (std::size_t s{0}; s != user_state_count; ++s)
            all.push_back(this->machine->cpu(id).times().spent(static_cast<user_state>(s), this->host.now()));
        return all;
    }
};
using times = std::vector<nanoseconds>; // init, run, idle, emu_kern, emu_user, sched

} // namespace

static_assert(std::is_empty_v<user_times<false>>);

TEMPLATE_TEST_CASE("a vCPU counts the time in its guest, in its handlers, and with its user", "", hosted::serial_host,
                   hosted::host) {
    counting<TestType> m;
    m.host.advance(5);
    CHECK(m.spent() == times{5, 0, 0, 0, 0, 0});
    m.run({m.takes(100), script::exit{exits::hypercall{}}, m.takes(200)});
    CHECK(m.spent() == times{5, 300, 0, 10, 0, 0});
    CHECK(m.cpu().times().state() == user_state::emu_user);
    m.host.advance(7);
    CHECK(m.spent() == times{5, 300, 0, 10, 7, 0});
    m.run({m.takes(1)});
    CHECK(m.spent() == times{5, 301, 0, 10, 7, 0});
    m.machine->stop({.kind = stop_kind::requested});
    m.run({});
    m.host.advance(3);
    CHECK(m.spent() == times{8, 301, 0, 10, 7, 0});
}

TEST_CASE("a vCPU that halts idles, on the host's processor or off it") {
    {
        counting<hosted::serial_host> m;
        m.apic().set_virtual_wire();
        REQUIRE(m.wrmsr(x86::msr::ia32_apic_base, 0xfee00d00));
        REQUIRE(m.wrmsr(0x832, 0x51));
        REQUIRE(m.wrmsr(0x83e, 0xb));
        REQUIRE(m.wrmsr(0x838, 1 << 17)); // 2^-10 s
        m.interrupts(true);
        m.run({script::exit{exits::hlt{}, 1}});
        CHECK(m.spent() == times{0, 0, m.host.now(), 0, 0, 0});
        CHECK(m.host.now() > 900'000);
    }
    counting<hosted::host> m;
    m.interrupts(true);
    m.run({script::exit{exits::hlt{}, 1}});
    m.host.advance(40);
    CHECK(m.spent() == times{0, 0, 40, 0, 0, 0});
    CHECK(m.machine->cpu(1).run() == run_end::run_state);
    m.host.advance(4);
    CHECK(m.spent(1) == times{40, 0, 4, 0, 0, 0});
}

TEST_CASE("a vCPU that gave way waits for the host's processor") {
    counting<hosted::host> m;
    m.cpu().ask(run_end::yield);
    CHECK(m.cpu().run() == run_end::yield);
    m.host.advance(9);
    m.run({m.takes(1)});
    CHECK(m.spent() == times{0, 1, 0, 0, 0, 9});
}
