// SPDX-License-Identifier: BSD-2-Clause
#include "whole_machine.hpp"

#include <hv/port_access.hpp>
#include <hv/vcpu_set.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

struct six_way_pc : fake_pc {
    static constexpr unsigned max_vcpus{6};
};

/// A machine none of whose processors takes part yet.
template <typename Host>
struct empty_machine {
    empty_machine() {
        offer_everything(host);
        REQUIRE(monitor.enable() == status::ok);
        REQUIRE(monitor.create(*machine) == status::ok);
        REQUIRE(machine->give_memory({.size = 1u << 20}) == status::ok);
    }
    ~empty_machine() {
        machine->destroy();
        CHECK(host.allocations() == 0);
        monitor.disable();
    }
    empty_machine(empty_machine const&) = delete;
    auto operator=(empty_machine const&) -> empty_machine& = delete;

    [[nodiscard]] auto active() -> std::vector<std::uint32_t> {
        std::vector<std::uint32_t> found;
        machine->for_each_active([&found](auto& cpu) { found.push_back(cpu.id()); });
        return found;
    }

    Host host{hosted::host_config{.memory = std::size_t{64} << 20}};
    vmm<six_way_pc, Host> monitor{host};
    std::unique_ptr<vm<six_way_pc, Host>> machine{std::make_unique<vm<six_way_pc, Host>>()};
};
using ids = std::vector<std::uint32_t>;

} // namespace

TEMPLATE_TEST_CASE("a set of vCPUs holds what was put in, and says what is new", "", std::false_type, std::true_type) {
    vcpu_set<200, TestType::value> set;
    CHECK(set.end() == 0);
    CHECK(set.first() == 0);
    for (std::uint32_t const id : {0u, 63u, 64u, 199u}) {
        CHECK_FALSE(set.has(id));
        CHECK(set.add(id));
        CHECK_FALSE(set.add(id));
        CHECK(set.has(id));
        CHECK(set.end() == id + 1);
    }
    ids found;
    set.for_each([&found](std::uint32_t id) { found.push_back(id); });
    CHECK(found == ids{0, 63, 64, 199});
    CHECK(set.remove(64));
    CHECK_FALSE(set.remove(64));
    CHECK_FALSE(set.has(64));
    CHECK(set.has(63));
    set.clear();
    CHECK(set.end() == 0);
}

TEMPLATE_TEST_CASE("vCPUs take part one by one, in any order, and cost nothing before", "", hosted::serial_host,
                   hosted::host) {
    empty_machine<TestType> m;
    auto const without = m.host.allocations();
    CHECK(m.active().empty());
    CHECK(m.machine->cpus().empty());
    CHECK(m.machine->activate(4) == status::ok);
    CHECK(m.host.allocations() == without + 1);
    CHECK(m.machine->activate(0) == status::ok);
    CHECK(m.active() == ids{0, 4});
    CHECK(m.machine->cpus().size() == 5);
    CHECK(m.machine->is_active(4));
    CHECK_FALSE(m.machine->is_active(3));
    CHECK(m.machine->cpu(0).run() == run_end::stopped); // the empty script shuts it down
    CHECK(m.machine->cpu(3).run() == run_end::inactive);
}

TEMPLATE_TEST_CASE("who names no vCPU, or one twice, is told, and nothing changes", "", hosted::serial_host,
                   hosted::host) {
    empty_machine<TestType> m;
    CHECK(m.machine->activate(6) == status::invalid_argument);
    CHECK(m.machine->activate(~0u) == status::invalid_argument);
    CHECK(m.machine->activate_cpus(0) == status::out_of_range);
    CHECK(m.machine->activate_cpus(7) == status::out_of_range);
    CHECK(m.active().empty());
    CHECK(m.machine->activate(2) == status::ok);
    m.machine->cpu(2).set_gpr(x86::gpr::rbx, 77);
    auto const allocations = m.host.allocations();
    CHECK(m.machine->activate(2) == status::busy);
    CHECK(m.machine->cpu(2).gpr(x86::gpr::rbx) == 77);
    CHECK(m.host.allocations() == allocations);
    CHECK(m.machine->activate_cpus(6) == status::busy); // the first two come before the third, which is there
    CHECK(m.active() == ids{0, 1, 2});
}

TEMPLATE_TEST_CASE("a vCPU for which there is no memory does not take part, and may later", "", hosted::serial_host,
                   hosted::host) {
    empty_machine<TestType> m;
    m.host.fail_after(0);
    CHECK(m.machine->activate(1) == status::out_of_memory);
    CHECK(m.active().empty());
    m.host.fail_after(hosted::host::unlimited);
    CHECK(m.machine->activate(1) == status::ok);
    CHECK(m.active() == ids{1});
}

TEMPLATE_TEST_CASE("no vCPU joins a machine that has stopped", "", hosted::serial_host, hosted::host) {
    empty_machine<TestType> m;
    CHECK(m.machine->activate(0) == status::ok);
    m.machine->stop({.kind = stop_kind::requested});
    CHECK(m.machine->activate(1) == status::busy);
    CHECK(m.active() == ids{0});
    CHECK(m.machine->cpu(0).run() == run_end::stopped);
}

TEST_CASE("a machine that stops while a vCPU joins has stopped for that one too") {
    struct stopping_host : hosted::serial_host {
        using hosted::serial_host::serial_host;
        auto allocate(std::size_t bytes, std::size_t alignment) -> void* {
            if (machine != nullptr)
                machine->stop({.kind = stop_kind::requested});
            return hosted::serial_host::allocate(bytes, alignment);
        }
        vm<six_way_pc, stopping_host>* machine{};
    };
    empty_machine<stopping_host> m;
    m.host.machine = m.machine.get();
    CHECK(m.machine->activate(0) == status::busy);
    m.host.machine = nullptr;
    CHECK(m.machine->cpu(0).run() == run_end::stopped);
}

TEST_CASE("messages reach the active vCPUs only, and a machine halts when those do") {
    empty_machine<hosted::host> m;
    CHECK(m.machine->activate(0) == status::ok);
    CHECK(m.machine->activate(3) == status::ok);
    m.machine->deliver({.mode = delivery_mode::nmi, .shorthand = destination_shorthand::all_including_self}, nullptr);
    CHECK(m.machine->cpu(0).shared().posted.any());
    CHECK(m.machine->cpu(3).shared().posted.any());
    CHECK_FALSE(m.machine->cpu(1).shared().posted.any());
    CHECK(m.machine->activate(1) == status::ok);
    CHECK_FALSE(m.machine->cpu(1).shared().posted.any()); // what came before it is not for it
    for (std::uint32_t const id : {0u, 3u})
        (void)m.machine->cpu(id).shared().posted.take();
    m.machine->cpu(0).hardware().run_script({script::exit{exits::hlt{}, 1}});
    CHECK(m.machine->cpu(0).run() == run_end::run_state);
    for (std::uint32_t const id : {3u, 1u, 0u}) {
        CHECK_FALSE(m.machine->stopped());
        CHECK_FALSE(m.machine->cpu(id).is_ready());
    }
    CHECK(m.machine->reason().kind == stop_kind::halted); // although three others never were there
}

TEST_CASE("of threads that activate the same vCPU one makes it") {
    empty_machine<hosted::host> m;
    for (std::uint32_t id{0}; id != 6; ++id) {
        std::atomic<unsigned> ready{0}, made{0}, busy{0};
        std::vector<std::thread> threads;
        for (unsigned n{0}; n != 4; ++n)
            threads.emplace_back([&] {
                ++ready;
                while (ready != 4)
                    std::this_thread::yield();
                auto const done = m.machine->activate(id);
                ++(done == status::ok ? made : busy);
            });
        for (auto& thread : threads)
            thread.join();
        CHECK(made == 1);
        CHECK(busy == 3);
    }
    CHECK(m.active().size() == 6);
}

TEST_CASE("the first of the active vCPUs looks after the timers of the shared devices, whichever that is") {
    constexpr instant soon{2'000'000};
    empty_machine<hosted::host> m;
    REQUIRE(m.machine->activate(4) == status::ok);
    REQUIRE(m.machine->activate(2) == status::ok);
    auto& second = m.machine->cpu(2);
    for (auto const [port, value] : {std::pair{0x43, 0x30}, {0x40, 1193 & 0xff}, {0x40, 1193 >> 8}}) // IRQ 0 in 1 ms
        write_port(m.machine->cpu(4), static_cast<std::uint16_t>(port), 1, static_cast<std::uint32_t>(value));
    CHECK(second.shared().posted.any());
    CHECK_FALSE(m.machine->cpu(4).shared().posted.any());
    CHECK(m.machine->cpu(4).next_turn().wakes_at == never);
    auto const wakes_at = second.next_turn().wakes_at;
    CHECK(wakes_at > instant{900'000});
    CHECK(wakes_at < instant{1'100'000});
    m.host.set_now(soon.since_creation);
    (void)m.machine->cpu(4).next_turn();
    CHECK(m.machine->deadline() == wakes_at); // it does not care
    (void)second.next_turn();
    CHECK(m.machine->deadline() == never);
}

TEST_CASE("the host's processor of a vCPU that joins is woken, and others are not") {
    hosted::host host{{.memory = std::size_t{64} << 20, .processors = 3}};
    vmm<six_way_pc, hosted::host> monitor{host};
    auto machine = std::make_unique<vm<six_way_pc, hosted::host>>();
    offer_everything(host);
    REQUIRE(monitor.enable() == status::ok);
    REQUIRE(monitor.create(*machine) == status::ok);
    REQUIRE(machine->activate(3) == status::ok);
    machine->cpu(0).settle(2);
    auto const others = host.kicks(1), before = host.kicks(2);
    CHECK(machine->activate(0) == status::ok);
    CHECK(host.kicks(1) == others);
    CHECK(host.kicks(2) == before + 1);
    CHECK(machine->activate(0) == status::busy);
    CHECK(host.kicks(2) == before + 1);
    machine->destroy();
    monitor.disable();
}

TEST_CASE("while the 8259 asks for an interrupt only the first processor has to look at that before an entry") {
    empty_machine<hosted::host> m;
    REQUIRE(m.machine->activate_cpus(2) == status::ok);
    machine_context context{*m.machine};
    m.machine->set_external_interrupt(context, true);
    CHECK(m.machine->attention(0) != 0);
    CHECK(m.machine->attention(1) == 0);
    m.machine->set_external_interrupt(context, false);
    CHECK(m.machine->attention(0) == 0);
}
