// SPDX-License-Identifier: BSD-2-Clause
#include "threaded_machine.hpp"

#include <array>
#include <atomic>
#include <cstdint>

using namespace hv;
using namespace hv::test;

namespace {

constexpr unsigned most{fake_smp::max_vcpus};

auto start_up(std::uint64_t page) -> script::step {
    return x2apic::send(icr::start_up | icr::others | page);
}
auto init() -> script::step {
    return x2apic::send(icr::init | icr::others);
}

/// Each NMI hands on the token, `hops` times in all.
struct relay {
    std::atomic<int> hops_left{};
    std::atomic<unsigned> hops{};
    unsigned cpus{};

    [[nodiscard]] auto hand_on(unsigned me, random_numbers& random) -> steps {
        ++hops;
        if (hops_left.fetch_sub(1) <= 0)
            return {script::iret{}};
        auto const next = (me + 1 + random.below(cpus - 1)) % cpus;
        return {x2apic::send(icr::nmi | icr::to(static_cast<std::uint32_t>(next))), script::iret{}};
    }
};

/// Interrupts off, and sleeps for ever but for NMIs.
auto sleep_deaf(unsigned step) -> steps {
    return {cli(), hlt(), script::act{[step](backends::fake::vcpu& cpu) { cpu.jump(step); }}};
}

/// A processor that is started where it halts goes on instead; else what an exit of HLT takes is no short time.
struct halts_late {
    auto on(exits::hlt const&, auto& cpu) -> verdict {
        if (cpu.rip() == 0)
            return verdict::advance;
        std::this_thread::yield();
        return verdict::not_mine;
    }
};
struct late_smp : fake_smp {
    using handlers = exit_chain<halts_late>;
};

} // namespace

TEST_CASE("every INIT with its start-up starts each processor once, at its page") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned rounds{30};
        constexpr std::uint64_t stray_page{0x9f};
        std::array<std::atomic<unsigned>, most> starts{}, page{};
        threaded_machine m{cpus, processors};
        random_numbers random{cpus * 16 + processors};
        auto code = x2apic::enable(true);
        for (unsigned round{1}; round <= rounds; ++round) {
            if (round != 1 and random.one_in(3))
                code.emplace_back(start_up(stray_page)); // without INIT: they run already
            code.emplace_back(init());
            if (random.one_in(3))
                code.emplace_back(init());
            code.emplace_back(start_up(round));
            if (random.one_in(2))
                code.emplace_back(start_up(round)); // as all firmware does
            if (random.one_in(4))
                code.emplace_back(x2apic::send(icr::nmi | icr::others));
            code.emplace_back(script::wait{[&, round] {
                for (unsigned id{1}; id != cpus; ++id)
                    if (page[id] != round)
                        return false;
                return true;
            }});
        }
        code.emplace_back(script::set{x86::gpr::rax, m.done});
        code.emplace_back(whole_machine<>::io(0xf4, 1, false));
        m.guest(0).run_script(std::move(code));
        for (unsigned id{1}; id != cpus; ++id)
            m.guest(id).run_script({script::act{[&, id](backends::fake::vcpu& cpu) {
                if (cpu.rip() == 0) { // nothing but a start-up leads here
                    ++starts[id];
                    page[id] = static_cast<unsigned>(cpu.segment(x86::segment_name::cs).base >> 12);
                }
                std::this_thread::yield();
                cpu.jump(0);
            }}});
        m.run();
        CHECK(m.ended_well());
        for (unsigned id{1}; id != cpus; ++id)
            CHECK(starts[id] == rounds);
    }
}

TEST_CASE("INIT and start-up start processors that halt, with interrupts on or off, and those about to") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned rounds{60};
        std::array<std::atomic<unsigned>, most> page{};
        threaded_machine<late_smp> m{cpus, processors};
        random_numbers random{cpus * 16 + processors};
        auto code = x2apic::enable(true);
        for (unsigned round{1}; round <= rounds; ++round) {
            code.emplace_back(init());
            for (auto spins = random.below(3); spins != 0; --spins)
                code.emplace_back(script::act{[](backends::fake::vcpu&) { std::this_thread::yield(); }});
            code.emplace_back(start_up(round));
            code.emplace_back(script::wait{[&, round] {
                for (unsigned id{1}; id != cpus; ++id)
                    if (page[id] != round)
                        return false;
                return true;
            }});
        }
        code += out(0xf4, m.done);
        m.guest(0).run_script(std::move(code));
        for (unsigned id{1}; id != cpus; ++id)
            m.guest(id).run_script({script::act{[&, id](backends::fake::vcpu& cpu) {
                                        auto const now = cpu.segment(x86::segment_name::cs).base >> 12;
                                        cpu.set_rflags((now + id) % 2 == 0 ? x86::rflags::interrupt : 0);
                                        page[id] = static_cast<unsigned>(now);
                                    }},
                                    hlt(), script::act{[](backends::fake::vcpu& cpu) { cpu.jump(0); }}});
        m.run();
        CHECK(m.ended_well());
    }
}

TEST_CASE("NMIs to all are taken by all, also by those that sleep with interrupts off") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned rounds{60};
        std::array<std::atomic<unsigned>, most> taken{};
        std::atomic<unsigned> up{};
        threaded_machine m{cpus, processors};
        for (unsigned id{0}; id != cpus; ++id)
            m.guest(id).handler = [&, id](event e) -> steps {
                if (e == nmi_event)
                    ++taken[id];
                return {script::iret{}};
            };
        auto code = come_up(0);
        code.emplace_back(script::wait{[&] { return up == cpus - 1; }});
        for (unsigned round{1}; round <= rounds; ++round) {
            code.emplace_back(x2apic::send(icr::nmi | icr::others));
            code.emplace_back(script::wait{[&, round] {
                for (unsigned id{1}; id != cpus; ++id)
                    if (taken[id] != round)
                        return false;
                return true;
            }});
        }
        code += out(0xf4, m.done);
        m.guest(0).run_script(std::move(code));
        for (unsigned id{1}; id != cpus; ++id) {
            auto sleeper = come_up(id);
            sleeper.emplace_back(act([&up] { ++up; }));
            sleeper += sleep_deaf(static_cast<unsigned>(sleeper.size()));
            m.guest(id).run_script(std::move(sleeper));
        }
        m.run();
        CHECK(m.ended_well());
        CHECK(taken[0] == 0);
    }
}

TEST_CASE("a machine whose processors all sleep deaf has ended, and no sooner") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned hops{400};
        relay token;
        token.cpus = cpus;
        token.hops_left = hops;
        threaded_machine m{cpus, processors};
        std::vector<random_numbers> random;
        for (unsigned id{0}; id != cpus; ++id)
            random.emplace_back(id + 1000);
        for (unsigned id{0}; id != cpus; ++id) {
            m.guest(id).handler = [&, id](event) { return token.hand_on(id, random[id]); };
            auto code = come_up(id);
            if (id == 0)
                code.emplace_back(x2apic::send(icr::nmi | icr::to(1)));
            code += sleep_deaf(static_cast<unsigned>(code.size()));
            m.guest(id).run_script(std::move(code));
        }
        m.run();
        CHECK(m.machine->reason().kind == stop_kind::halted);
        CHECK(token.hops == hops + 1);
    }
}

TEST_CASE("one vCPU resets the machine while the others send and sleep") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        for (unsigned way{0}; way != 3; ++way) {
            threaded_machine m{cpus, processors};
            std::atomic<unsigned> up{};
            for (unsigned id{0}; id != cpus; ++id) {
                m.guest(id).handler = [](event) -> steps { return {wrmsr(x2apic::eoi, 0), script::iret{}}; };
                auto code = come_up(id);
                code.emplace_back(act([&up] { ++up; }));
                code.emplace_back(popf_on());
                if (id == 1) {
                    code.emplace_back(script::wait{[&] { return up == cpus; }});
                    if (way == 0)
                        code.emplace_back(x2apic::send(icr::init | icr::to(0))); // the first starts nowhere else
                    else if (way == 1)
                        code += out(0x64, 0xfe); // the keyboard controller's line
                    else
                        code.emplace_back(script::exit{exits::triple_fault{}});
                }
                auto const again = code.size();
                code.emplace_back(x2apic::send(0x40 | (id % 2 == 0 ? icr::all : icr::others)));
                code.emplace_back(hlt());
                code.emplace_back(script::act{[again](backends::fake::vcpu& cpu) { cpu.jump(again); }});
                m.guest(id).run_script(std::move(code));
            }
            m.run();
            CHECK(m.machine->reason().kind == (way == 2 ? stop_kind::triple_fault : stop_kind::reset));
        }
    }
}
