// SPDX-License-Identifier: BSD-2-Clause
#include "threaded_machine.hpp"

#include <atomic>
#include <cstdint>

using namespace hv;
using namespace hv::test;

namespace {

/// Its guests exit for RDTSC.
struct trapped_smp : fake_smp {
    static constexpr tsc_policy tsc{tsc_policy::trapped};
    static constexpr std::uint64_t tsc_frequency{1'000'000'000};
};

/// What was read last, by anybody, and how often a later reading was less.
struct watch {
    std::atomic<std::uint64_t> last{};
    std::atomic<unsigned> steps_back{};

    void saw(std::uint64_t before, std::uint64_t tsc) {
        if (tsc < before)
            ++steps_back;
        for (auto now = last.load(); now < tsc and not last.compare_exchange_weak(now, tsc);)
            continue;
    }
};

} // namespace

TEST_CASE("no processor's TSC lies behind what another one read before") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned readings{300};
        watch seen;
        threaded_machine<trapped_smp> m{cpus, processors};
        for (unsigned id{0}; id != cpus; ++id) {
            auto code = come_up(id);
            for (unsigned n{0}; n != readings; ++n) {
                auto& before = m.notes.emplace_back();
                code.emplace_back(act([&] { before = seen.last.load(); }));
                code.emplace_back(script::exit{exits::tsc_read{}});
                code.emplace_back(script::act{[&](backends::fake::vcpu& cpu) {
                    seen.saw(before, cpu.gpr(x86::gpr::rdx) << 32 | cpu.gpr(x86::gpr::rax));
                }});
            }
            code += m.end();
            m.guest(id).run_script(std::move(code));
        }
        m.run();
        CHECK(m.ended_well());
        CHECK(seen.steps_back == 0);
        CHECK(seen.last != 0);
    }
}

TEST_CASE("timers of all local APICs wake their processors from HLT") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned rounds{20};
        constexpr std::uint8_t vector{0x60};
        constexpr std::uint32_t divide{0x83e}, lvt_timer{0x832}, initial_count{0x838};
        std::array<std::atomic<unsigned>, fake_smp::max_vcpus> fired{};
        threaded_machine m{cpus, processors};
        for (unsigned id{0}; id != cpus; ++id) {
            random_numbers random{id};
            m.guest(id).handler = [&fired, id](event) -> steps {
                return {act([&fired, id] { ++fired[id]; }), wrmsr(x2apic::eoi, 0), script::iret{}};
            };
            auto code = come_up(id);
            code.emplace_back(wrmsr(divide, 0xb));
            code.emplace_back(wrmsr(lvt_timer, vector));
            for (unsigned round{1}; round <= rounds; ++round) {
                code.emplace_back(cli());
                code.emplace_back(wrmsr(initial_count, 1 + random.below(100'000)));
                halt_until(code, [&fired, id, round] { return fired[id] >= round; });
            }
            code += m.end();
            m.guest(id).run_script(std::move(code));
        }
        m.run();
        CHECK(m.ended_well());
        for (unsigned id{0}; id != cpus; ++id)
            CHECK(fired[id] == rounds);
    }
}
