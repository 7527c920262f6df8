// SPDX-License-Identifier: BSD-2-Clause
#include "whole_machine.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

struct four_way_pc : fake_pc {
    static constexpr unsigned max_vcpus{4};
};

/// Four vCPUs that would run to a PAUSE.
template <typename Host>
struct four : whole_machine<four_way_pc, Host> {
    four() : whole_machine<four_way_pc, Host>{{.memory = std::size_t{64} << 20, .processors = 2}} {
        for (auto& cpu : this->machine->cpus()) {
            cpu.set_activity(vcpu_activity::running);
            cpu.hardware().run_script({script::exit{exits::pause{}}});
        }
    }
    /// What each says when it is run once.
    [[nodiscard]] auto ends() -> std::vector<run_end> {
        std::vector<run_end> all;
        for (auto& cpu : this->machine->cpus()) {
            cpu.hardware().run_script({script::exit{exits::pause{}}});
            all.push_back(cpu.run());
        }
        return all;
    }
};
using all_ends = std::vector<run_end>;
constexpr auto left = run_end::left, debug = run_end::debug, barrier = run_end::barrier;

} // namespace

TEMPLATE_TEST_CASE("a suspended vCPU is not entered until it is resumed", "", hosted::serial_host, hosted::host) {
    four<TestType> m;
    CHECK(m.machine->suspend_cpu(2) == status::ok);
    CHECK(m.machine->suspend_cpu(2) == status::ok); // it is, already
    CHECK(m.machine->is_suspended(2));
    CHECK_FALSE(m.machine->is_suspended(1));
    CHECK(m.ends() == all_ends{left, left, debug, left});
    CHECK(m.ends() == all_ends{left, left, debug, left});
    CHECK(m.machine->resume_cpu(2) == status::ok);
    CHECK_FALSE(m.machine->is_suspended(2));
    CHECK(m.ends() == all_ends{left, left, left, left});
}

TEMPLATE_TEST_CASE("all vCPUs are suspended and resumed at once", "", hosted::serial_host, hosted::host) {
    four<TestType> m;
    m.machine->suspend_cpus();
    CHECK(m.ends() == all_ends{debug, debug, debug, debug});
    CHECK(m.machine->resume_cpu(1) == status::ok);
    CHECK(m.ends() == all_ends{debug, left, debug, debug});
    m.machine->resume_cpus();
    CHECK(m.ends() == all_ends{left, left, left, left});
}

TEMPLATE_TEST_CASE("who suspends or resumes a vCPU that is not there, or resumes one that runs, is told", "",
                   hosted::serial_host, hosted::host) {
    four<TestType> m;
    for (std::uint32_t const id : {4u, 64u, ~0u}) {
        CHECK(m.machine->suspend_cpu(id) == status::invalid_argument);
        CHECK(m.machine->resume_cpu(id) == status::invalid_argument);
        CHECK(m.machine->barrier_cpu(id) == status::invalid_argument);
        CHECK_FALSE(m.machine->is_suspended(id));
    }
    CHECK(m.machine->resume_cpu(3) == status::invalid_argument);
    CHECK(m.ends() == all_ends{left, left, left, left});
    m.machine->destroy();
    REQUIRE(m.monitor.create(*m.machine) == status::ok);
    REQUIRE(m.machine->activate(1) == status::ok);
    CHECK(m.machine->suspend_cpu(0) == status::invalid_argument);
    CHECK(m.machine->barrier_cpu(0) == status::ok); // nobody to call
    CHECK(m.machine->activate(0) == status::ok);
    m.guest().run_script({script::exit{exits::pause{}}});
    CHECK(m.cpu().run() == left);
}

TEMPLATE_TEST_CASE("a barrier calls each vCPU out once: one, or all of them", "", hosted::serial_host, hosted::host) {
    four<TestType> m;
    CHECK(m.machine->barrier_cpu(1) == status::ok);
    CHECK(m.ends() == all_ends{left, barrier, left, left});
    CHECK(m.ends() == all_ends{left, left, left, left});
    m.machine->barrier_cpus();
    CHECK(m.ends() == all_ends{barrier, barrier, barrier, barrier});
    CHECK(m.ends() == all_ends{left, left, left, left});
    CHECK(m.machine->suspend_cpu(3) == status::ok);
    m.machine->barrier_cpus();
    CHECK(m.ends() == all_ends{barrier, barrier, barrier, barrier});
    CHECK(m.ends() == all_ends{left, left, left, debug});
}

TEMPLATE_TEST_CASE("the first who ends a machine gives the reason, with its vCPU and the time", "", hosted::serial_host,
                   hosted::host) {
    four<TestType> m;
    m.host.advance(1234);
    CHECK(m.machine->suspend({}) == status::invalid_argument);
    CHECK_FALSE(m.machine->stopped());
    CHECK(m.machine->suspend({.kind = stop_kind::requested, .code = 7}, 2) == status::ok);
    m.host.advance(1000);
    CHECK(m.machine->suspend({.kind = stop_kind::reset}) == status::already_done);
    auto const& reason = m.machine->reason();
    CHECK(reason.kind == stop_kind::requested);
    CHECK(reason.code == 7);
    CHECK(reason.source == 2);
    CHECK(reason.when == instant{1234});
    auto const stopped = run_end::stopped;
    CHECK(m.ends() == all_ends{stopped, stopped, stopped, stopped});
    m.machine->destroy();
    m.make();
    CHECK_FALSE(m.machine->stopped());
    m.guest().run_script({script::exit{exits::pause{}}});
    CHECK(m.cpu().run() == left);
}

TEMPLATE_TEST_CASE("a vCPU that cannot go on is named, and a device is not", "", hosted::serial_host, hosted::host) {
    {
        four<TestType> m;
        m.machine->cpu(3).hardware().run_script({script::exit{exits::triple_fault{}}});
        CHECK(m.machine->cpu(3).run() == run_end::stopped);
        CHECK(m.machine->reason().kind == stop_kind::triple_fault);
        CHECK(m.machine->reason().source == 3);
    }
    four<TestType> m;
    m.out(0xf4, 0x31);
    CHECK(m.stopped() == stop_kind::exit_code);
    CHECK(m.machine->reason().source == no_vcpu);
}

TEST_CASE("a vCPU that runs is called out by another thread, and stays out until it is resumed") {
    four<hosted::host> m;
    auto& cpu = m.cpu();
    std::atomic<unsigned> suspended{0}, called{0};
    std::atomic<bool> over{false}, entered{false};
    std::thread runner{[&] {
        hosted::this_processor = 1;
        while (not over) {
            m.guest().run_script(
                {script::act{[&](auto&) { entered = true; }}, script::spin{}, script::exit{exits::pause{}}});
            auto const end = cpu.run();
            suspended += end == debug ? 1 : 0;
            called += end == barrier ? 1 : 0;
            std::this_thread::yield();
        }
    }};
    auto const wait_for = [](auto&& done) {
        while (not done())
            std::this_thread::yield();
    };
    for (unsigned n{0}; n != 50; ++n) {
        auto const before = suspended.load();
        CHECK(m.machine->suspend_cpu(0) == status::ok);
        wait_for([&] { return suspended > before + 1; });
        entered = false;
        wait_for([&] { return suspended > before + 3; });
        CHECK_FALSE(entered);
        CHECK(m.machine->resume_cpu(0) == status::ok);
        wait_for([&] { return entered.load(); });
        CHECK(m.machine->barrier_cpu(0) == status::ok);
        wait_for([&] { return called > n; });
    }
    over = true;
    CHECK(m.machine->barrier_cpu(0) == status::ok);
    runner.join();
    CHECK(called <= 51);
}

TEST_CASE("time goes on for the devices while the vCPU that looks after them is suspended") {
    four<hosted::host> m;
    m.out(0x43, 0x30); // the 8254 raises IRQ 0 in a millisecond
    m.out(0x40, 1193 & 0xff);
    m.out(0x40, 1193 >> 8);
    REQUIRE(m.machine->suspend_cpu(0) == status::ok);
    auto const wakes_at = m.cpu().next_turn().wakes_at;
    CHECK(wakes_at > m.machine->now());
    CHECK(wakes_at < instant{1'100'000});
    m.host.set_now(2'000'000);
    CHECK_FALSE(m.cpu().next_turn().is_ready);
    CHECK(m.cpu().next_turn().wakes_at == never); // else its processor would never sleep
}
