// SPDX-License-Identifier: BSD-2-Clause
#include "whole_machine.hpp"

#include <catch2/catch.hpp>

#include <functional>
#include <utility>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

/// VMCALL asks its vCPU for the end in RAX.
struct ask_at_hypercall {
    auto on(exits::hypercall const&, auto& cpu) -> verdict {
        cpu.ask(static_cast<run_end>(cpu.gpr(x86::gpr::rax)));
        return verdict::advance;
    }
};
struct two_way_pc : fake_pc {
    using handlers = exit_chain<leave_at_pause, ask_at_hypercall>;
    static constexpr unsigned max_vcpus{2};
};

/// Asks its vCPU for something while the guest halts.
struct asking_host : hosted::serial_host {
    using hosted::serial_host::serial_host;
    void idle() {
        if (while_idle)
            while_idle();
        hosted::serial_host::idle();
    }
    std::function<void()> while_idle{};
};

template <typename Host>
struct a_machine : whole_machine<two_way_pc, Host> {
    /// Runs to the PAUSE, unless something ends the run before.
    [[nodiscard]] auto run_once(std::vector<script::step> steps = {}) -> run_end {
        steps.emplace_back(script::exit{exits::pause{}});
        this->guest().run_script(std::move(steps));
        return this->cpu().run();
    }
};

} // namespace

TEMPLATE_TEST_CASE("run tells that a handler left, or that the machine stopped", "", hosted::serial_host,
                   hosted::host) {
    a_machine<TestType> m;
    CHECK(m.run_once() == run_end::left);
    CHECK(m.run_once({script::set{x86::gpr::rax, 0x2000}, m.io(0x604, 2, false)}) == run_end::left);
    CHECK(m.run_once({script::exit{exits::triple_fault{}}}) == run_end::stopped);
    CHECK(m.run_once() == run_end::stopped);
    m.cpu().ask(run_end::barrier);
    CHECK(m.run_once() == run_end::stopped); // it goes before everything else
}

TEMPLATE_TEST_CASE("run comes back for what was asked, in the order of the interface and before the guest executes", "",
                   hosted::serial_host, hosted::host) {
    a_machine<TestType> m;
    auto& cpu = m.cpu();
    CHECK(m.machine->suspend_cpu(0) == status::ok);
    for (auto const what : {run_end::consistent, run_end::barrier, run_end::idle})
        cpu.ask(what);
    m.guest().set_gpr(x86::gpr::rax, 0);
    auto const run = [&m] { return m.run_once({script::set{x86::gpr::rax, 1}}); };
    CHECK(run() == run_end::idle);
    CHECK(run() == run_end::barrier);
    CHECK(run() == run_end::consistent);
    CHECK(run() == run_end::debug);
    CHECK(run() == run_end::debug); // until it is withdrawn
    CHECK(m.rax() == 0);
    CHECK(m.machine->resume_cpu(0) == status::ok);
    CHECK(run() == run_end::left);
    CHECK(m.rax() == 1);
}

TEMPLATE_TEST_CASE("what is asked at an exit ends the run before the next entry", "", hosted::serial_host,
                   hosted::host) {
    a_machine<TestType> m;
    CHECK(m.run_once({script::set{x86::gpr::rax, static_cast<std::uint64_t>(run_end::barrier)},
                      script::exit{exits::hypercall{}}, script::set{x86::gpr::rax, 77}}) == run_end::barrier);
    CHECK(m.rax() == static_cast<std::uint64_t>(run_end::barrier));
    CHECK(m.cpu().run() == run_end::left);
    CHECK(m.rax() == 77);
}

TEST_CASE("a guest that halts is called away, and halts again when it comes back") {
    a_machine<asking_host> m;
    m.apic().set_virtual_wire();
    m.interrupts(true);
    auto& cpu = m.cpu();
    auto const rip = m.guest().rip();
    for (auto const what : {run_end::barrier, run_end::debug}) {
        m.host.while_idle = [&m, what] {
            CHECK((what == run_end::barrier ? m.machine->barrier_cpu(0) : m.machine->suspend_cpu(0)) == status::ok);
        };
        CHECK(m.run_once({script::exit{exits::hlt{}, 1}, script::set{x86::gpr::rax, 5}}) == what);
        CHECK(m.guest().rip() == rip);
        CHECK(m.rax() != 5);
    }
    CHECK(m.host.idles() == 2);
    CHECK(cpu.run() == run_end::debug); // it does not sleep either
    CHECK(m.host.idles() == 2);
    CHECK(m.machine->resume_cpu(0) == status::ok);
    m.host.while_idle = [&m] { m.machine->deliver({.destination = 0, .vector = 0x61}, nullptr); };
    CHECK(cpu.run() == run_end::left);
    CHECK(m.host.idles() == 3);
    CHECK(m.delivered() == std::vector{external(0x61)});
    CHECK(m.rax() == 5);
}

TEST_CASE("of several processors one that halts, or was not started, comes back and says so") {
    a_machine<hosted::host> m;
    CHECK(m.machine->cpu(1).run() == run_end::run_state);
    CHECK_FALSE(m.machine->cpu(1).is_ready());
    m.apic().set_virtual_wire();
    m.interrupts(true);
    CHECK(m.run_once({script::exit{exits::hlt{}, 1}, script::set{x86::gpr::rax, 5}}) == run_end::run_state);
    CHECK_FALSE(m.cpu().is_ready());
    CHECK(m.cpu().run() == run_end::run_state);
    m.cpu().ask(run_end::barrier);
    CHECK(m.cpu().is_ready()); // to tell, although it would not enter
    CHECK(m.cpu().run() == run_end::barrier);
    CHECK_FALSE(m.cpu().is_ready());
    m.machine->deliver({.destination = 0, .vector = 0x61}, nullptr);
    CHECK(m.cpu().is_ready());
    CHECK(m.machine->suspend_cpu(0) == status::ok);
    CHECK_FALSE(m.cpu().is_ready());
    CHECK(m.machine->resume_cpu(0) == status::ok);
    CHECK(m.cpu().is_ready());
    CHECK(m.cpu().run() == run_end::left);
    CHECK(m.delivered() == std::vector{external(0x61)});
    CHECK(m.rax() == 5);
}

TEST_CASE("a vCPU of which the host says that its turn is over yields, and is ready again at once") {
    struct strict_host : hosted::host {
        using hosted::host::host;
        auto should_yield() -> bool { return std::exchange(over, false); }
        bool over{true};
    };
    a_machine<strict_host> m;
    CHECK(m.run_once({script::exit{exits::host_interrupt{}}, script::set{x86::gpr::rax, 5}}) == run_end::yield);
    CHECK(m.rax() != 5);
    CHECK(m.cpu().is_ready());
    CHECK(m.cpu().run() == run_end::left);
    CHECK(m.rax() == 5);
}

TEST_CASE("a vCPU that another thread has is not run, and says that it is to be idle") {
    a_machine<hosted::host> m;
    {
        frozen_vcpu const held{m.cpu()};
        CHECK(m.run_once({script::set{x86::gpr::rax, 5}}) == run_end::idle);
        CHECK(m.rax() != 5);
    }
    CHECK(m.cpu().run() == run_end::left);
    CHECK(m.rax() == 5);
}
