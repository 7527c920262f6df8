// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <hv/vcpu_run_state.hpp>

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

struct pc_of_two : fake_pc {
    static constexpr unsigned max_vcpus{2};
};

struct two_vcpus : whole_machine<pc_of_two, hosted::host> {
    using vcpu_type = machine_type::vcpu_type;

    two_vcpus() {
        enable(0);
        enable(1);
    }
    static void write(vcpu_type& cpu, std::uint32_t msr, std::uint64_t value) {
        register_context<vcpu_type> context{cpu};
        REQUIRE(cpu.local().write_msr(context, msr, value) == vcpu_type::local_board::msr_answer::done);
    }
    /// Where firmware leaves it, and in x2APIC mode.
    void enable(unsigned n) {
        auto& cpu = machine->cpu(n);
        cpu.set_activity(vcpu_activity::running);
        cpu.apic().set_virtual_wire();
        write(cpu, x86::msr::ia32_apic_base, 0xfee00c00 | (n == 0 ? 0x100u : 0u));
        write(cpu, 0x80f, 0x1ff);
        write(cpu, 0x835, 0x10033); // LINT0: fixed, masked
    }
    [[nodiscard]] auto second() -> vcpu_type& { return machine->cpu(1); }
    /// Everything a guest takes that ends each interrupt.
    [[nodiscard]] auto taken_by_second() -> std::vector<event> {
        std::vector<script::step> steps;
        for (unsigned i{0}; i != 8; ++i) {
            steps.emplace_back(script::exit{exits::msr_write{.index = 0x80b, .value = 0}});
            steps.emplace_back(script::iret{});
        }
        steps.emplace_back(script::exit{exits::pause{}});
        auto& guest = second().hardware();
        guest.delivered.clear();
        guest.set_rflags(x86::rflags::interrupt);
        guest.run_script(std::move(steps));
        for (unsigned tries{0}; second().run() != run_end::left and tries != 16;)
            ++tries;
        return guest.delivered;
    }
};

/// What saved states have of a vCPU's interrupts, from one machine to another.
void copy_interrupts(two_vcpus::vcpu_type& from, two_vcpus::vcpu_type& to) {
    processor_context<two_vcpus::vcpu_type> source{from};
    register_context<two_vcpus::vcpu_type> destination{to};
    REQUIRE(to.local().restore<lapic>(destination, from.apic().save(source)) == status::ok);
    if (from.events().nmi_pending())
        to.events().raise_nmi();
    if (from.events().external_pending())
        to.events().raise_external();
    REQUIRE(set_run_state(to, run_state_of(from)) == status::ok);
}

void post_all(two_vcpus::vcpu_type& cpu) {
    cpu.post(interrupt_message{.vector = 0x41});
    cpu.post(interrupt_message{.vector = 0x91, .level = true});
    cpu.post(interrupt_message{.mode = delivery_mode::nmi});
    cpu.post(interrupt_message{.mode = delivery_mode::external});
}

} // namespace

TEST_CASE("interrupts that were posted to a vCPU are part of what is saved of it") {
    bool const whole{GENERATE(true, false)};
    two_vcpus a, b;
    post_all(a.second());
    auto const copy = [&] {
        CHECK(a.second().apic().pending_vector() == 0x91);
        CHECK(a.second().events().nmi_pending());
        CHECK(a.second().events().external_pending());
        copy_interrupts(a.second(), b.second());
    };
    if (whole) {
        exclusive_access const held{*a.machine};
        copy();
    } else {
        frozen_vcpu const held{a.second()};
        copy();
    }
    auto const in_a = a.taken_by_second();
    CHECK(in_a.size() == 4);
    for (auto const e : {nmi_event, external(0x41), external(0x91)})
        CHECK(std::count(in_a.begin(), in_a.end(), e) == 1);
    CHECK(b.taken_by_second() == in_a);
    CHECK(a.taken_by_second().empty()); // nothing of it twice
}

TEST_CASE("an edge at LINT0 that was posted is part of what is saved") {
    two_vcpus m;
    two_vcpus::write(m.second(), 0x835, 0x33); // fixed, vector 33h
    m.second().post(posted_requests::request::lint0);
    frozen_vcpu const held{m.second()};
    CHECK(m.second().apic().pending_vector() == 0x33);
}

TEST_CASE("INIT and start-up stay pending for whoever has a vCPU frozen, with what came behind an INIT") {
    two_vcpus m;
    auto& cpu = m.second();
    SECTION("start-up alone") {
        cpu.set_activity(vcpu_activity::waits_for_start_up);
        inject_start_up(cpu, 0x12);
        post_all(cpu);
        frozen_vcpu const held{cpu};
        CHECK((run_state_of(cpu).bits & run_state::pending_start_up) != 0);
        CHECK(run_state_of(cpu).start_up_vector == 0x12);
        CHECK(cpu.events().nmi_pending());
    }
    SECTION("INIT") {
        inject_init(cpu);
        cpu.post(interrupt_message{.mode = delivery_mode::nmi});
        {
            frozen_vcpu const held{cpu};
            CHECK((run_state_of(cpu).bits & run_state::pending_init) != 0);
            CHECK_FALSE(cpu.events().nmi_pending()); // INIT would drop it
        }
        CHECK_FALSE(cpu.is_ready());
        CHECK(run_state_of(cpu) == run_state{run_state::init});
        CHECK(cpu.events().nmi_pending());
    }
}

TEST_CASE("a machine does not end while somebody has a sleeping vCPU that a message has reached") {
    two_vcpus m;
    for (auto& cpu : m.machine->cpus()) {
        cpu.hardware().set_rflags(0); // an NMI alone wakes it
        cpu.set_activity(vcpu_activity::halted);
    }
    REQUIRE_FALSE(m.second().is_ready());
    REQUIRE(m.second().sleeps_for_ever());
    m.second().post(interrupt_message{.mode = delivery_mode::nmi});
    {
        frozen_vcpu const held{m.second()};
        bool is_ready{true};
        std::thread{[&] { is_ready = m.cpu().is_ready(); }}.join(); // it falls asleep, and looks whether all do
        CHECK_FALSE(is_ready);
        CHECK_FALSE(m.machine->stopped());
    }
    CHECK(m.second().is_ready());
    CHECK_FALSE(m.machine->stopped());
}
