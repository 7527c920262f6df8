// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "act_at_cpuid.hpp"
#include "whole_machine.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace hv;
using namespace hv::test;
using phase = vcpu_phase;

namespace {

struct pc_of_four : fake_pc {
    static constexpr unsigned max_vcpus{4};
    using handlers = exit_chain<leave_at_pause, act_at_cpuid>;
};

constexpr gpa more{0x200000};

/// vCPU n runs on a thread that plays processor n; the test's own plays processor 4.
struct four_processors : whole_machine<pc_of_four, hosted::host> {
    four_processors() : whole_machine{{.memory = std::size_t{64} << 20, .processors = 5}} {
        hosted::this_processor = 4;
        for (auto& cpu : machine->cpus())
            cpu.set_activity(vcpu_activity::running);
    }
    ~four_processors() {
        act_at_cpuid::forget();
        hosted::this_processor = 0;
    }

    [[nodiscard]] auto guest(unsigned n) -> backends::fake::vcpu& { return machine->cpu(n).hardware(); }
    void give(unsigned n, std::vector<script::step> steps) {
        steps.emplace_back(script::exit{exits::pause{}});
        guest(n).run_script(std::move(steps));
    }
    /// Runs a vCPU to its last step, however often others take it meanwhile.
    [[nodiscard]] auto run_all_of(unsigned n) -> std::thread {
        return std::thread{[this, n] {
            hosted::this_processor = n;
            while (guest(n).steps_done() + 1 < guest(n).script.size() and not machine->stopped()) {
                machine->cpu(n).run();
                std::this_thread::yield();
            }
        }};
    }
    /// Maps one page with these rights, in place of what was there.
    void remap(hv::access allowed) {
        exclusive_access held{*machine};
        auto& memory = held.memory();
        static_cast<void>(memory.unmap(host, more, page_size));
        static_cast<void>(memory.free_segment(host, 1));
        if (memory.allocate_segment(host, 1, page_size, false) != status::ok or
            memory.map(host, more, 1, 0, page_size, allowed) != status::ok)
            throw std::runtime_error{"no page"};
    }
    /// Until somebody waits for them all.
    void await_want() {
        while (not machine->cpu(3).shared().hold.now().is_wanted())
            std::this_thread::yield();
    }
    void track_dirty() {
        exclusive_access held{*machine};
        if (held.memory().track_dirty(host, true) != status::ok)
            throw std::runtime_error{"no tracking"};
    }
    auto dirty(dirty_operation what) -> unsigned {
        std::array<std::uint8_t, 1> bits{};
        if (machine->dirty(gpa{0x8000}, 8 * page_size, what, {}, bits) != status::ok)
            throw std::runtime_error{"no dirty flags"};
        return bits[0];
    }
};

/// A place of the guest where it stays until the test lets it go on; interrupts wait as long.
struct barrier {
    std::atomic<bool> reached{false}, open{false};

    [[nodiscard]] auto step() -> script::step {
        return script::act{[this](auto&) {
            reached = true;
            while (not open)
                std::this_thread::yield();
        }};
    }
    void await() const {
        while (not reached)
            std::this_thread::yield();
    }
};

/// Something that must not end before the test allows it.
struct attempt {
    explicit attempt(std::function<void()> what)
        : thread{[this, what = std::move(what)] {
              hosted::this_processor = 4;
              what();
              over = true;
          }} {}
    ~attempt() { thread.join(); }
    [[nodiscard]] auto waits() const -> bool {
        std::this_thread::sleep_for(std::chrono::milliseconds{30});
        return not over;
    }

    std::atomic<bool> over{false};
    std::thread thread;
};

} // namespace

TEST_CASE("exclusive access waits until every vCPU is out of its guest, and keeps them out") {
    four_processors m;
    std::array<barrier, 4> places{};
    std::vector<std::thread> threads;
    for (unsigned n{0}; n != 4; ++n) {
        m.give(n, {places[n].step()});
        threads.emplace_back(m.run_all_of(n));
    }
    for (auto const& place : places)
        place.await();
    std::atomic<bool> inside{false}, enough{false};
    {
        attempt const change{[&] {
            exclusive_access const held{*m.machine};
            for (auto& cpu : m.machine->cpus())
                CHECK(cpu.phase() == phase::frozen);
            inside = true;
            while (not enough)
                std::this_thread::yield();
        }};
        m.await_want();
        for (auto& place : places) {
            CHECK(change.waits());
            CHECK_FALSE(inside);
            place.open = true;
        }
        while (not inside)
            std::this_thread::yield();
        std::array<std::uint64_t, 4> entries{};
        for (unsigned n{0}; n != 4; ++n)
            entries[n] = m.guest(n).entries;
        std::this_thread::sleep_for(std::chrono::milliseconds{20}); // their threads try to run them
        for (unsigned n{0}; n != 4; ++n) {
            CHECK(m.guest(n).entries == entries[n]);
            CHECK(m.host.kicks(n) > 0);
        }
        enough = true;
    }
    for (auto& thread : threads)
        thread.join();
    for (auto& cpu : m.machine->cpus())
        CHECK(cpu.phase() == phase::idle);
}

TEST_CASE("vCPUs that want exclusive access in their exits at once have it one after the other") {
    four_processors m;
    std::atomic<unsigned> inside{0}, most{0}, changes{0};
    act_at_cpuid::what = [&](std::uint32_t id) {
        exclusive_access held{m.machine->cpu(id)};
        if (auto const now = ++inside; now > most)
            most = now;
        CHECK(held.memory().track_dirty(m.host, changes++ % 2 == 0) == status::ok);
        --inside;
    };
    std::vector<std::thread> threads;
    for (unsigned n{0}; n != 4; ++n) {
        m.give(n, std::vector<script::step>(300, script::exit{exits::cpuid{}}));
        threads.emplace_back(m.run_all_of(n));
    }
    while (changes != 4 * 300) { // from outside no vCPU is in the middle of an exit
        exclusive_access const held{*m.machine};
        if (auto const now = ++inside; now > most)
            most = now;
        for (auto& cpu : m.machine->cpus())
            CHECK_FALSE(cpu.shared().hold.now().stands_aside());
        --inside;
    }
    for (auto& thread : threads)
        thread.join();
    CHECK(most == 1);
}

TEST_CASE("one that has a vCPU for itself keeps exclusive access waiting, and shared access does, which several have") {
    four_processors m;
    std::atomic<bool> done{false};
    SECTION("a frozen vCPU") {
        attempt const change{[&] {
            while (not m.machine->cpu(2).shared().hold.now().is_wanted() and m.machine->cpu(2).phase() != phase::frozen)
                std::this_thread::yield();
            exclusive_access const held{*m.machine};
            done = true;
        }};
        {
            frozen_vcpu const held{m.machine->cpu(2)};
            CHECK(change.waits());
            CHECK_FALSE(done);
        }
    }
    SECTION("shared access") {
        std::atomic<unsigned> inside{0};
        std::atomic<bool> go{false};
        std::vector<std::thread> readers;
        for (unsigned n{0}; n != 3; ++n)
            readers.emplace_back([&] {
                shared_access const held{*m.machine};
                ++inside;
                while (not go)
                    std::this_thread::yield();
                --inside;
            });
        while (inside != 3)
            std::this_thread::yield();
        {
            attempt const change{[&] {
                exclusive_access const held{*m.machine};
                CHECK(inside == 0);
                done = true;
            }};
            CHECK(change.waits());
            CHECK_FALSE(done);
            go = true;
        }
        for (auto& reader : readers)
            reader.join();
    }
    SECTION("shared access waits for exclusive access in turn, also for one that waits itself") {
        std::optional<shared_access<std::remove_reference_t<decltype(*m.machine)>>> first{*m.machine};
        std::atomic<bool> inside{false}, go{false};
        attempt const change{[&] {
            exclusive_access const held{*m.machine};
            inside = true;
            while (not go)
                std::this_thread::yield();
        }};
        CHECK(change.waits());
        attempt const look{[&] {
            shared_access const held{*m.machine};
            CHECK(go);
            done = true;
        }};
        CHECK(look.waits());
        first.reset();
        while (not inside)
            std::this_thread::yield();
        CHECK(look.waits());
        CHECK_FALSE(done);
        go = true;
    }
    CHECK(m.machine->cpu(2).phase() == phase::idle);
}

TEST_CASE("a vCPU that was wanted while it stood aside is given up before its next entry") {
    four_processors m;
    act_at_cpuid::what = [&](std::uint32_t id) { exclusive_access const held{m.machine->cpu(id)}; };
    m.give(1, {script::exit{exits::cpuid{}}, script::spin{}});
    std::optional<shared_access<std::remove_reference_t<decltype(*m.machine)>>> first{*m.machine};
    std::thread runner{[&] {
        hosted::this_processor = 1;
        m.machine->cpu(1).run();
    }};
    auto const& hold = m.machine->cpu(1).shared().hold;
    while (not hold.now().stands_aside())
        std::this_thread::yield();
    std::size_t done{99};
    {
        attempt const take{[&] {
            frozen_vcpu const held{m.machine->cpu(1)};
            done = m.guest(1).steps_done();
        }};
        while (not hold.now().is_wanted())
            std::this_thread::yield();
        first.reset();
    }
    runner.join();
    CHECK(done <= 1); // it does not compute until a kick comes
    CHECK(m.host.kicks(1) == 1);
    CHECK_FALSE(m.machine->stopped());
}

TEST_CASE("no vCPU uses a page after it was taken away, nor a right") {
    four_processors m;
    m.remap(hv::access::read | hv::access::write);
    std::array<barrier, 4> places{};
    std::vector<std::thread> threads;
    for (unsigned n{0}; n != 4; ++n) {
        m.give(n, {script::store{more + 8 * n, 0x1111}, places[n].step(), script::load{more + 8 * n},
                   script::fetch{gpa{0x1000}}});
        threads.emplace_back(m.run_all_of(n));
    }
    for (auto const& place : places)
        place.await();
    {
        attempt const change{[&] { m.remap(hv::access::read | hv::access::write); }};
        m.await_want();
        CHECK(change.waits()); // they hold translations of the page
        for (auto& place : places)
            place.open = true;
    }
    for (auto& thread : threads)
        thread.join();
    for (unsigned n{0}; n != 4; ++n)
        CHECK(m.guest(n).loaded == std::vector<std::uint64_t>{0}); // of the new page
}

TEST_CASE("what a running vCPU writes after its dirty flag was cleared is dirty again") {
    four_processors m;
    m.track_dirty();
    static_cast<void>(m.dirty(dirty_operation::reset));
    barrier place{};
    std::atomic<bool> cleared{false};
    m.give(1, {script::store{gpa{0x9000}, 1}, place.step(), script::store{gpa{0x9000}, 2},
               script::wait{[&cleared] { return cleared.load(); }}});
    auto thread = m.run_all_of(1);
    place.await();
    CHECK(m.dirty(dirty_operation::get) == 2); // asks nobody
    auto const kicks = m.host.kicks(1);
    unsigned was{0};
    {
        attempt const clear{[&] { was = m.dirty(dirty_operation::reset); }};
        while (m.host.kicks(1) == kicks)
            std::this_thread::yield();
        CHECK(clear.waits()); // the processor remembers the page as dirty until it looks
        CHECK(m.host.kicks(1) == kicks + 1);
        CHECK(m.machine->cpu(1).phase() == phase::running);
        place.open = true;
    }
    CHECK(m.machine->cpu(1).phase() == phase::running); // nobody asked it to leave
    cleared = true;
    thread.join();
    CHECK(was == 2);
    CHECK(m.dirty(dirty_operation::get) == 2);
    CHECK(m.dirty(dirty_operation::reset) == 2);
    CHECK(m.dirty(dirty_operation::reset) == 0);
}

TEST_CASE("writes are never lost to whoever reads and clears dirty flags meanwhile") {
    four_processors m;
    m.track_dirty();
    static_cast<void>(m.dirty(dirty_operation::reset));
    std::vector<std::thread> threads;
    constexpr unsigned writes{2000};
    for (unsigned n{0}; n != 4; ++n) {
        std::vector<script::step> steps;
        for (unsigned i{1}; i <= writes; ++i)
            steps.emplace_back(script::store{gpa{0x8000 + page_size * n}, i, 4});
        m.give(n, std::move(steps));
        threads.emplace_back(m.run_all_of(n));
    }
    // A copy that is brought up to date with what was dirty is exact in the end.
    std::array<std::uint32_t, 4> copy{};
    auto const copy_dirty = [&] {
        auto const bits = m.dirty(dirty_operation::reset);
        shared_access held{*m.machine};
        for (unsigned n{0}; n != 4; ++n)
            if ((bits >> n & 1) != 0) {
                auto* const at = held.memory().at(gpa{0x8000 + page_size * n}, hv::access::read);
                copy[n] = 0;
                for (unsigned i{0}; i != 4; ++i)
                    copy[n] |= std::uint32_t{__atomic_load_n(reinterpret_cast<std::uint8_t*>(at + i), __ATOMIC_RELAXED)}
                               << 8 * i;
            }
    };
    for (unsigned i{0}; i != 200; ++i)
        copy_dirty();
    for (auto& thread : threads)
        thread.join();
    copy_dirty();
    for (unsigned n{0}; n != 4; ++n)
        CHECK(copy[n] == writes);
}

TEST_CASE("a vCPU that comes back to a processor does not use what that one remembers") {
    four_processors m;
    m.remap(hv::access::read | hv::access::write);
    auto const read_on = [&m](unsigned processor) {
        hosted::this_processor = processor;
        m.guest(0).loaded.clear();
        m.give(0, {script::load{more}});
        m.cpu().run();
        return m.guest(0).loaded.at(0);
    };
    auto const write = [&m](std::uint8_t value) {
        *m.machine->memory().at(more, hv::access::write) = std::byte{value};
    };
    write(1);
    CHECK(read_on(0) == 1);
    CHECK(read_on(1) == 1);
    m.remap(hv::access::read);
    *m.machine->memory().at(more, hv::access::read) = std::byte{2};
    CHECK(read_on(1) == 2);
    CHECK(read_on(0) == 2);
    CHECK(read_on(1) == 2);
}
