// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <hv/tsc_ratio.hpp>

#include <vector>

using namespace hv;
using namespace hv::test;
using x86::gpr;
namespace msrs = hv::x86::msr;

namespace {

template <tsc_policy Policy, std::uint64_t Frequency>
struct pc_of : fake_pc {
    static constexpr unsigned max_vcpus{3};
    static constexpr tsc_policy tsc{Policy};
    static constexpr std::uint64_t tsc_frequency{Frequency};
};
/// VMCALL takes as many nanoseconds as RBX says.
struct time_passes {
    auto on(exits::hypercall const&, auto& cpu) -> verdict {
        cpu.host().advance(static_cast<nanoseconds>(cpu.gpr(gpr::rbx)));
        return verdict::advance;
    }
};
struct slow_pc : pc_of<tsc_policy::offset, 0> {
    using handlers = exit_chain<leave_at_pause, time_passes>;
};
using offset_pc = pc_of<tsc_policy::offset, 0>;
using scaled_pc = pc_of<tsc_policy::scaled, 3'000'000'000>;
using trapped_pc = pc_of<tsc_policy::trapped, 3'000'000'000>;

/// A host whose processors count from different beginnings, and a machine whose vCPUs go from one to another.
template <typename Machine>
struct wanderers : whole_machine<Machine, hosted::host> {
    using base = whole_machine<Machine, hosted::host>;
    static constexpr std::uint64_t frequency{2'000'000'000};

    wanderers()
        : base{{.memory = std::size_t{64} << 20,
                .processors = 4,
                .tsc_frequency = frequency,
                .tsc_leads = {0, 7'000'000'123, -3'000'001, -1}},
               5'000'000} {
        for (auto& cpu : this->machine->places())
            if (not this->machine->is_active(cpu.id()))
                REQUIRE(this->machine->activate(cpu.id()) == status::ok);
        for (auto& cpu : this->machine->cpus())
            cpu.set_activity(vcpu_activity::running);
    }
    ~wanderers() { hosted::this_processor = 0; }

    /// Lets a vCPU run these steps on a processor of the host.
    void run_on(unsigned processor, std::uint32_t id, std::vector<script::step> steps) {
        hosted::this_processor = processor;
        if (not on[processor]) {
            REQUIRE(this->monitor.enable() == status::ok);
            on[processor] = true;
        }
        auto& cpu = this->machine->cpu(id);
        steps.emplace_back(script::exit{exits::pause{}});
        cpu.hardware().delivered.clear();
        cpu.hardware().run_script(std::move(steps));
        (void)cpu.run();
    }
    /// What RDTSC shows in the guest there, without an exit or by one.
    [[nodiscard]] auto rdtsc(unsigned processor, std::uint32_t id) -> std::uint64_t {
        if constexpr (Machine::tsc == tsc_policy::trapped) {
            run_on(processor, id, {script::exit{exits::tsc_read{.with_aux = false}}});
            return edx_eax(id);
        }
        run_on(processor, id, {});
        auto const counter = this->host.tsc() + static_cast<std::uint64_t>(this->host.tsc_lead());
        auto const ratio = this->machine->hardware().controls.tsc_ratio;
        return (ratio == 0 ? counter : scaled_tsc(counter, ratio, fake::tsc_scaling)) +
               this->machine->cpu(id).hardware().tsc_offset;
    }
    [[nodiscard]] auto rdmsr(unsigned processor, std::uint32_t id, std::uint32_t index) -> std::uint64_t {
        run_on(processor, id, {script::exit{exits::msr_read{.index = index}}});
        return edx_eax(id);
    }
    void wrmsr(unsigned processor, std::uint32_t id, std::uint32_t index, std::uint64_t value) {
        run_on(processor, id, {script::exit{exits::msr_write{.index = index, .value = value}}});
    }

    std::array<bool, 4> on{true, false, false, false};

  private:
    [[nodiscard]] auto edx_eax(std::uint32_t id) -> std::uint64_t {
        auto& guest = this->machine->cpu(id).hardware();
        return guest.gpr(gpr::rdx) << 32 | (guest.gpr(gpr::rax) & 0xffffffff);
    }
};

/// The guest's ticks in some of the host's nanoseconds.
template <typename Machine>
constexpr std::uint64_t rate{Machine::tsc_frequency != 0 ? 3 : 2};

} // namespace

TEMPLATE_TEST_CASE("a guest's TSC goes on as before when its processor becomes another of the host's", "", offset_pc,
                   scaled_pc, trapped_pc) {
    wanderers<TestType> m;
    std::uint64_t before{m.rdtsc(0, 0)};
    CHECK(before <= 1);
    std::uint64_t passed{0};
    for (unsigned step{0}; step != 60; ++step) {
        m.host.advance(100 + step);
        passed += 100 + step;
        auto const now = m.rdtsc(step * 7 % 4, step % 3);
        CHECK(now > before);
        CHECK(now + 2 >= passed * rate<TestType>);
        CHECK(now <= passed * rate<TestType> + 2);
        before = now;
    }
}

TEMPLATE_TEST_CASE("all of a guest's processors read one TSC, by RDTSC and by RDMSR, wherever they are", "", offset_pc,
                   scaled_pc, trapped_pc) {
    wanderers<TestType> m;
    m.host.advance(1'000'000);
    for (unsigned processor{0}; processor != 4; ++processor)
        for (std::uint32_t id{0}; id != 3; ++id) {
            auto const direct = m.rdtsc(processor, id);
            CHECK(direct + 2 >= 1'000'000 * rate<TestType>);
            CHECK(direct <= 1'000'000 * rate<TestType> + 2);
            auto const read = m.rdmsr(processor, id, msrs::ia32_tsc);
            CHECK(read + 1 >= direct);
            CHECK(read <= direct + 1);
        }
}

TEMPLATE_TEST_CASE("what a guest wrote to a TSC stays with that processor of its, on whatever processor of the host",
                   "", offset_pc, scaled_pc, trapped_pc) {
    wanderers<TestType> m;
    m.wrmsr(1, 0, msrs::ia32_tsc, 1'000'000'000'000);
    m.wrmsr(2, 1, msrs::ia32_tsc_adjust, 500);
    m.host.advance(1000);
    auto const near = [](std::uint64_t value, std::uint64_t expected) {
        return value + 2 >= expected and value <= expected + 2;
    };
    for (unsigned processor{0}; processor != 4; ++processor) {
        CHECK(near(m.rdtsc(processor, 0), 1'000'000'000'000 + 1000 * rate<TestType>));
        CHECK(near(m.rdtsc(processor, 1), 500 + 1000 * rate<TestType>));
        CHECK(near(m.rdtsc(processor, 2), 1000 * rate<TestType>));
        CHECK(m.rdmsr(processor, 1, msrs::ia32_tsc_adjust) == 500);
        CHECK(m.rdmsr(processor, 2, msrs::ia32_tsc_adjust) == 0);
    }
}

TEST_CASE("a write on one processor of the host holds on it at once") {
    wanderers<offset_pc> m;
    m.wrmsr(1, 0, msrs::ia32_tsc, 77);
    auto const counter = m.host.tsc() + static_cast<std::uint64_t>(m.host.tsc_lead());
    CHECK(counter + m.machine->cpu(0).hardware().tsc_offset == 77);
}

TEST_CASE("a deadline ends a stay in time on each of the host's processors, also behind a move to another") {
    wanderers<slow_pc> m;
    auto& guest = m.machine->cpu(0).hardware();
    guest.bounds_stay = true;
    m.apic().set_virtual_wire();
    m.wrmsr(0, 0, msrs::ia32_apic_base, 0xfee00d00);
    m.wrmsr(0, 0, 0x832, 0x41);
    m.wrmsr(0, 0, 0x83e, 0xb);
    auto const deadlines = [&] { return m.machine->cpu(0).stats().exits[exits::number_of<exits::deadline>]; };
    auto const run_for = [&](unsigned processor, nanoseconds time) {
        m.interrupts(true);
        m.run_on(processor, 0,
                 {script::set{gpr::rbx, static_cast<std::uint64_t>(time)}, script::exit{exits::hypercall{}},
                  script::set{gpr::rbx, 0}});
        return guest.delivered.size();
    };
    for (unsigned set{0}; set != 4; ++set)
        for (unsigned reached{0}; reached != 4; ++reached) {
            auto const before = deadlines();
            m.wrmsr(set, 0, 0x838, 1 << 17);
            auto const due = m.host.now() + 976'563;
            CHECK(run_for(set, 500'000) == 0);
            CHECK(run_for(reached, due - m.host.now() - 1) == 0);
            CHECK(deadlines() == before);
            CHECK(run_for(reached, 2) == 1);
            CHECK(deadlines() == before + 1);
            m.wrmsr(reached, 0, 0x80b, 0);
        }
}
