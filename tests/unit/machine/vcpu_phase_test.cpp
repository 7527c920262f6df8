// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

using namespace hv;
using namespace hv::test;
using phase = vcpu_phase;

namespace {

constexpr std::array every_phase{phase::idle, phase::frozen, phase::running, phase::sleeping};

struct pc_of_two : fake_pc {
    static constexpr unsigned max_vcpus{2};
};

/// The test's thread plays processor 1; the vCPUs run on processor 0.
struct two_processors : whole_machine<pc_of_two, hosted::host> {
    two_processors() : whole_machine{{.memory = std::size_t{64} << 20, .processors = 2}} { hosted::this_processor = 1; }
    ~two_processors() { hosted::this_processor = 0; }

    [[nodiscard]] auto run_on_a_thread() -> std::thread {
        return std::thread{[this] { cpu().run(); }};
    }
    void wait_until(phase wanted) {
        while (cpu().phase() != wanted)
            std::this_thread::yield();
    }
};

} // namespace

TEST_CASE("a vCPU's phase changes along the edges idle - frozen, frozen - running and frozen - sleeping alone") {
    for (auto const from : every_phase)
        for (auto const to : every_phase) {
            bool const allowed{from != to and (from == phase::frozen or to == phase::frozen)};
            CHECK(may_follow(from, to) == allowed);
            vcpu_hold hold{};
            if (from != phase::idle)
                REQUIRE(hold.move(phase::idle, phase::frozen) == status::ok);
            if (from == phase::running or from == phase::sleeping)
                REQUIRE(hold.move(phase::frozen, from) == status::ok);
            for (auto const other : every_phase)
                if (other != from)
                    CHECK(hold.move(other, to) == status::busy);
            CHECK(hold.now().phase() == from);
            CHECK(hold.move(from, to) == (allowed ? status::ok : status::busy));
            CHECK(hold.now().phase() == (allowed ? to : from));
        }
}

TEST_CASE("a vCPU keeps the number of its processor in every phase") {
    hosted::host host{};
    vcpu_hold hold{};
    hold.settle(63);
    CHECK(hold.now().processor() == 63);
    REQUIRE(hold.start(5));
    CHECK(hold.now().phase() == phase::running);
    CHECK(hold.now().processor() == 5);
    hold.end(host);
    CHECK(hold.now().phase() == phase::idle);
    REQUIRE(hold.begin(6));
    CHECK(hold.now().processor() == 6);
    hold.rest(host, phase::sleeping);
    CHECK(hold.now().processor() == 6);
    CHECK_FALSE(hold.want());
    CHECK(hold.wait(host, false));
    CHECK(hold.now().processor() == 6); // others have it where it is
    hold.rest(host, phase::sleeping);
    CHECK(hold.now().processor() == 6);
    REQUIRE(hold.start(7));
    CHECK(hold.now().processor() == 7);
    CHECK_FALSE(hold.now().is_wanted());
}

TEST_CASE("a vCPU that somebody waits for is not taken by its own thread") {
    hosted::host host{};
    for (auto const from : {phase::idle, phase::sleeping, phase::frozen, phase::running}) {
        vcpu_hold hold{};
        if (from == phase::running)
            REQUIRE(hold.start(0));
        else if (from != phase::idle)
            REQUIRE(hold.begin(0));
        if (from == phase::sleeping)
            hold.rest(host, phase::sleeping);
        CHECK(hold.want() == (from == phase::running));
        if (from == phase::running)
            hold.end(host);
        else if (from == phase::frozen)
            hold.rest(host, phase::sleeping); // no: somebody waits
        CHECK_FALSE(hold.start(1));
        CHECK_FALSE(hold.begin(0));
        CHECK(hold.now().phase() == (from == phase::sleeping ? phase::sleeping : phase::idle));
        CHECK(hold.now().processor() == 0);
        CHECK(hold.wait(host, false));
        CHECK(hold.now().phase() == phase::frozen);
        CHECK_FALSE(hold.now().is_wanted());
        CHECK_FALSE(hold.start(1));
        CHECK_FALSE(hold.begin(0));
    }
}

TEST_CASE("who wants a running vCPU makes it leave its guest, and has it then") {
    two_processors m;
    m.guest().run_script({script::spin{}, script::spin{}, script::exit{exits::pause{}}});
    auto thread = m.run_on_a_thread();
    m.wait_until(phase::running);
    auto const kicks = m.host.kicks(0);
    std::uint64_t entries{};
    {
        frozen_vcpu const held{m.cpu()};
        CHECK(m.cpu().phase() == phase::frozen);
        CHECK(m.host.kicks(0) == kicks + 1);
        thread.join();
        auto const done = m.guest().steps_done();
        entries = m.guest().entries;
        m.cpu().run(); // somebody else has it
        CHECK(m.guest().steps_done() == done);
        CHECK(m.guest().entries == entries);
        CHECK(m.cpu().phase() == phase::frozen);
    }
    CHECK(m.cpu().phase() == phase::idle);
    m.guest().run_script({script::exit{exits::pause{}}});
    m.cpu().run();
    CHECK(m.guest().entries == entries + 1);
    CHECK(m.cpu().phase() == phase::idle);
}

TEST_CASE("a vCPU runs for one thread at a time") {
    two_processors m;
    m.guest().run_script({script::spin{}, script::exit{exits::pause{}}});
    auto thread = m.run_on_a_thread();
    m.wait_until(phase::running);
    m.cpu().run(); // at once: the guest computes until a kick comes
    CHECK(m.cpu().phase() == phase::running);
    while (m.cpu().phase() == phase::running) {
        m.host.kick(0);
        std::this_thread::yield();
    }
    thread.join();
    CHECK(m.guest().steps_done() == 1);
}

TEST_CASE("a halted vCPU sleeps, and who wants it has it at once and wakes its processor afterwards") {
    two_processors m;
    hosted::this_processor = 0;
    m.interrupts(true);
    m.guest().run_script({script::exit{exits::hlt{}, 1}, script::exit{exits::pause{}}});
    m.cpu().run();
    CHECK(m.cpu().phase() == phase::idle);
    CHECK_FALSE(m.cpu().is_ready());
    CHECK(m.cpu().phase() == phase::sleeping);
    auto const kicks = m.host.kicks(0);
    {
        hosted::this_processor = 1;
        frozen_vcpu const held{m.cpu()};
        CHECK(m.host.kicks(0) == kicks);
        hosted::this_processor = 0;
        CHECK_FALSE(m.cpu().is_ready());
        CHECK(m.cpu().phase() == phase::frozen);
    }
    CHECK(m.host.kicks(0) == kicks + 1); // so that its processor looks again
    CHECK(m.cpu().phase() == phase::idle);
    CHECK_FALSE(m.cpu().is_ready());
    CHECK(m.cpu().phase() == phase::sleeping);
}

TEST_CASE("several threads that want a vCPU have it one after the other") {
    two_processors m;
    std::vector<script::step> steps(1, script::spin{});
    steps.emplace_back(script::exit{exits::pause{}});
    std::atomic<bool> over{false}, ended{false};
    std::thread runner{[&] {
        while (not over) {
            m.guest().run_script(steps);
            m.cpu().run();
            std::this_thread::yield();
        }
        ended = true;
    }};
    std::vector<std::thread> others;
    std::atomic<unsigned> inside{0}, most{0};
    for (unsigned n{0}; n != 3; ++n)
        others.emplace_back([&m, &inside, &most] {
            hosted::this_processor = 1;
            for (unsigned i{0}; i != 200; ++i) {
                frozen_vcpu const held{m.cpu()};
                if (auto const now = ++inside; now > most)
                    most = now;
                --inside;
            }
        });
    for (auto& other : others)
        other.join();
    over = true;
    for (; not ended; std::this_thread::yield())
        m.host.kick(0);
    runner.join();
    CHECK(most == 1);
}

namespace {

/// A host whose locks let a test act behind the next release.
struct interrupting_host : hosted::host {
    using hosted::host::host;
    static inline thread_local std::function<void()> behind_a_lock{};
    struct lock : hosted::owned_lock {
        void release() {
            hosted::owned_lock::release();
            if (behind_a_lock)
                std::exchange(behind_a_lock, {})();
        }
    };
};

} // namespace

TEST_CASE("a machine that stops behind a message whose kick is spent is not entered") {
    whole_machine<pc_of_two, interrupting_host> m{{.memory = std::size_t{64} << 20, .processors = 2}};
    m.host.feed("xy"); // the UART has room for one
    m.machine->take_input();
    REQUIRE(m.machine->keeps_input());
    m.guest().run_script({script::exit{exits::pause{}}});
    m.cpu().post(posted_requests::request::nmi); // later posts kick nobody
    interrupting_host::behind_a_lock = [&m] { m.machine->stop({.kind = stop_kind::power_off}); };
    m.cpu().run();
    CHECK_FALSE(interrupting_host::behind_a_lock);
    CHECK(m.guest().entries == 0);
}
