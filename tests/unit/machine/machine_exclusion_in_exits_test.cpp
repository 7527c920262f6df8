// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "act_at_cpuid.hpp"
#include "whole_machine.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

using namespace hv;
using namespace hv::test;
using phase = vcpu_phase;

namespace {

struct pc_of_two : fake_pc {
    static constexpr unsigned max_vcpus{2};
    using handlers = exit_chain<leave_at_pause, act_at_cpuid>;
};

/// A host that lets a test act behind whatever a thread announces.
struct announcing_host : hosted::host {
    using hosted::host::host;
    static inline thread_local std::function<void()> behind_it{};
    void announce(std::atomic<std::uint32_t>& word) {
        hosted::host::announce(word);
        if (behind_it)
            behind_it();
    }
};

struct two_vcpus : whole_machine<pc_of_two, announcing_host> {
    two_vcpus() : whole_machine{{.memory = std::size_t{64} << 20, .processors = 2}} {
        for (auto& cpu : machine->cpus())
            cpu.set_activity(vcpu_activity::running);
    }
    ~two_vcpus() { act_at_cpuid::forget(); }

    /// An exit of a vCPU, on a thread that plays this processor.
    [[nodiscard]] auto exit_of(unsigned n, unsigned processor, std::uint8_t length = 2) -> std::thread {
        machine->cpu(n).hardware().run_script(
            {script::exit{.what = exits::cpuid{}, .length = length}, script::exit{exits::pause{}}});
        return std::thread{[this, n, processor] {
            hosted::this_processor = processor;
            while (machine->cpu(n).hardware().steps_done() == 0) { // until the exit was served
                machine->cpu(n).run();
                std::this_thread::yield();
            }
            announcing_host::behind_it = {};
        }};
    }
};

template <typename What>
auto happens_within(std::chrono::milliseconds longest, What what) -> bool {
    for (auto const end = std::chrono::steady_clock::now() + longest; not what(); std::this_thread::yield())
        if (std::chrono::steady_clock::now() > end)
            return false;
    return true;
}

} // namespace

TEST_CASE("a vCPU that had exclusive access in an exit does not go on while the next has it") {
    two_vcpus m;
    std::atomic<bool> next_exits{false}, next_has_it{false}, went_on{false};
    auto& first = m.machine->cpu(0);
    auto& next = m.machine->cpu(1);
    act_at_cpuid::what = [&](std::uint32_t id) {
        auto const until = [](auto what) {
            while (not what())
                std::this_thread::yield();
        };
        if (id == 0) {
            until([&] { return next_exits.load(); });
            exclusive_access const held{first};
            CHECK(next.shared().hold.now().stands_aside());
            announcing_host::behind_it = [&] { // it is slow to give it up
                static_cast<void>(happens_within(std::chrono::milliseconds{50}, [&] { return next_has_it.load(); }));
            };
        } else {
            next_exits = true;
            until([&] { return next.shared().hold.now().is_wanted(); });
            exclusive_access const held{next};
            next_has_it = true;
            went_on = happens_within(std::chrono::milliseconds{50}, [&] { return first.phase() != phase::frozen; });
        }
    };
    auto a = m.exit_of(0, 0);
    auto b = m.exit_of(1, 1);
    a.join();
    b.join();
    CHECK(next_has_it);
    CHECK_FALSE(went_on);
    CHECK(first.phase() == phase::idle);
    CHECK(next.phase() == phase::idle);
}

TEST_CASE("an exit has exclusive access although another vCPU of the same host's processor sleeps") {
    two_vcpus m;
    auto& sleeper = m.machine->cpu(1);
    sleeper.set_activity(vcpu_activity::halted);
    REQUIRE_FALSE(sleeper.is_ready());
    REQUIRE(sleeper.phase() == phase::sleeping);
    std::atomic<bool> had_it{false};
    act_at_cpuid::what = [&](std::uint32_t id) {
        exclusive_access const held{m.machine->cpu(id)};
        CHECK(sleeper.phase() == phase::frozen);
        had_it = true;
    };
    auto thread = m.exit_of(0, 0);
    CHECK(happens_within(std::chrono::seconds{5}, [&] { return had_it.load(); }));
    while (not had_it) // else the test would not end
        static_cast<void>(sleeper.is_ready());
    thread.join();
    CHECK(sleeper.phase() == phase::idle);
    CHECK_FALSE(sleeper.is_ready());
    CHECK(sleeper.phase() == phase::sleeping);
}

TEST_CASE("a vCPU that stood aside reads code where the map has it when it goes on") {
    two_vcpus m;
    constexpr gpa code{0x200000};
    constexpr auto all = hv::access::read | hv::access::write | hv::access::execute;
    auto const map = [&](auto& memory, unsigned segment) {
        REQUIRE(memory.allocate_segment(m.host, segment, page_size, false) == status::ok);
        static_cast<void>(memory.unmap(m.host, code, page_size));
        REQUIRE(memory.map(m.host, code, segment, 0, page_size, all) == status::ok);
    };
    {
        exclusive_access held{*m.machine};
        map(held.memory(), 1);
    }
    m.poke(code.value, {0x0f, 0xa2});
    m.long_mode();
    m.guest().set_rip(code.value);
    act_at_cpuid::answer = verdict::not_mine;
    m.exit_of(0, 0, 0).join();
    REQUIRE(m.guest().rip() == code.value + 2);

    m.guest().set_rip(code.value);
    std::atomic<bool> first_exits{false};
    act_at_cpuid::what = [&](auto id) {
        if (id == 0) {
            first_exits = true;
            while (not m.cpu().shared().hold.now().is_wanted()) // then the other has the machine's lock
                std::this_thread::yield();
            std::array<std::uint8_t, 1> bits{};
            static_cast<void>(m.machine->dirty(gpa{0}, page_size, dirty_operation::get, {}, bits, &m.cpu()));
        } else {
            while (not first_exits)
                std::this_thread::yield();
            exclusive_access held{m.machine->cpu(id)};
            CHECK(m.cpu().shared().hold.now().stands_aside());
            map(held.memory(), 2);
            REQUIRE(held.memory().free_segment(m.host, 1) == status::ok);
            m.poke(code.value, {0x66, 0x0f, 0xa2});
        }
    };
    auto a = m.exit_of(0, 0, 0);
    auto b = m.exit_of(1, 1);
    a.join();
    b.join();
    CHECK(m.guest().rip() == code.value + 3);
}

TEST_CASE("access from outside waits for the exits that vCPUs are at, and for no more of them") {
    two_vcpus m;
    constexpr unsigned steps{50};
    std::array<std::atomic<unsigned>, 2> exits{};
    std::atomic<bool> has_access{false};
    act_at_cpuid::what = [&](std::uint32_t id) {
        auto& cpu = m.machine->cpu(id);
        ++exits[id];
        while (not cpu.shared().hold.now().is_wanted() and not has_access)
            std::this_thread::yield();
        exclusive_access const held{cpu};
    };
    std::array<std::thread, 2> threads;
    for (unsigned n{0}; n != 2; ++n) {
        std::vector<script::step> guest(steps, script::exit{exits::cpuid{}});
        guest.emplace_back(script::exit{exits::pause{}});
        m.machine->cpu(n).hardware().run_script(std::move(guest));
        threads[n] = std::thread{[&m, n] {
            hosted::this_processor = n;
            while (m.machine->cpu(n).hardware().steps_done() != steps) {
                m.machine->cpu(n).run();
                std::this_thread::yield();
            }
        }};
    }
    for (auto& count : exits)
        while (count == 0)
            std::this_thread::yield();
    {
        exclusive_access const held{*m.machine};
        has_access = true;
        for (unsigned n{0}; n != 2; ++n) {
            CHECK(exits[n] == 1);
            CHECK(m.machine->cpu(n).hardware().steps_done() <= 1);
        }
    }
    for (auto& thread : threads)
        thread.join();
    for (auto& count : exits)
        CHECK(count == steps);
}
