// SPDX-License-Identifier: BSD-2-Clause
#include "whole_machine.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

using namespace hv;
using namespace hv::test;

namespace {

/// VMCALL notifies its own vCPU.
struct notify_itself {
    auto on(exits::hypercall const&, auto& cpu) -> verdict {
        CHECK(cpu.machine().notify_cpu(cpu.id(), notification::exit) == status::ok);
        return verdict::advance;
    }
};
struct two_way_pc : fake_pc {
    using handlers = exit_chain<leave_at_pause, notify_itself>;
    static constexpr unsigned max_vcpus{2};
};
template <typename Host>
struct two : whole_machine<two_way_pc, Host> {
    two() : whole_machine<two_way_pc, Host>{{.memory = std::size_t{64} << 20, .processors = 2}} {}
};

} // namespace

TEST_CASE("a vCPU that nobody runs is not notified, nor one by its own thread") {
    two<hosted::host> m;
    auto const before = m.host.kicks(0);
    CHECK(m.machine->notify_cpu(0, notification::exit) == status::ok);
    CHECK(m.machine->notify_cpu(0, notification::apic) == status::ok);
    CHECK(m.host.kicks(0) == before);
    m.run({script::exit{exits::hypercall{}}});
    CHECK(m.host.kicks(0) == before);
}

TEST_CASE("a vCPU that sleeps is woken, unless nobody wants it to look") {
    two<hosted::host> m;
    m.machine->cpu(1).settle(1);
    hosted::this_processor = 1;
    CHECK_FALSE(m.machine->cpu(1).is_ready());
    hosted::this_processor = 0;
    REQUIRE(m.machine->cpu(1).phase() == vcpu_phase::sleeping);
    auto const others = m.host.kicks(0);
    auto const before = m.host.kicks(1);
    CHECK(m.machine->notify_cpu(1, notification::none) == status::ok);
    CHECK(m.host.kicks(1) == before);
    CHECK(m.machine->notify_cpu(1, notification::apic) == status::ok);
    CHECK(m.machine->notify_cpu(1, notification::exit) == status::ok);
    CHECK(m.host.kicks(1) == before + 2);
    CHECK(m.host.kicks(0) == others);
}

TEST_CASE("a vCPU that runs on another processor leaves its guest by one host interrupt") {
    for (auto const how : {notification::apic, notification::exit}) {
        two<hosted::host> m;
        std::atomic<bool> entered{false};
        m.guest().run_script(
            {script::act{[&](auto&) { entered = true; }}, script::spin{}, script::exit{exits::pause{}}});
        std::thread runner{[&m] {
            hosted::this_processor = 1;
            CHECK(m.cpu().run() == run_end::left);
        }};
        while (not entered)
            std::this_thread::yield();
        auto const before = m.host.kicks(1);
        CHECK(m.machine->notify_cpu(0, notification::none) == status::ok);
        CHECK(m.host.kicks(1) == before);
        CHECK(m.machine->notify_cpu(0, how) == status::ok);
        runner.join();
        CHECK(m.host.kicks(1) == before + 1);
        CHECK(m.cpu().stats().exits[exits::number_of<exits::host_interrupt>] == 1);
    }
}

TEMPLATE_TEST_CASE("who notifies a vCPU that is not there is told", "", hosted::serial_host, hosted::host) {
    two<TestType> m;
    CHECK(m.machine->notify_cpu(2, notification::exit) == status::invalid_argument);
    CHECK(m.machine->notify_cpu(~0u, notification::none) == status::invalid_argument);
    CHECK(m.machine->notify_cpu(1, notification::exit) == status::ok);
}
