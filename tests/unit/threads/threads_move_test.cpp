// SPDX-License-Identifier: BSD-2-Clause
#include "threaded_machine.hpp"

#include <array>
#include <atomic>
#include <cstdint>

using namespace hv;
using namespace hv::test;

namespace {

/// The host's processor that each vCPU was last seen on, and how often it was another than before.
struct places {
    std::array<unsigned, fake_smp::max_vcpus> last{};
    std::atomic<unsigned> moves{};

    void see(unsigned id) {
        if (auto const now = hosted::this_processor; std::exchange(last[id], now) != now)
            ++moves;
    }
};

} // namespace

TEST_CASE("of two vCPUs that compute on one processor one goes to a processor that has nothing to do") {
    threaded_machine<> m{4, 2};
    std::atomic<bool> there{false};
    auto first = come_up(0, icr::to(2));
    first.emplace_back(script::wait{[&] { return there.load(); }});
    first += out(0xf4, m.done);
    m.guest(0).run_script(std::move(first));
    auto second = come_up(2);
    second.emplace_back(script::wait{[&] {
        there = there or hosted::this_processor == 1;
        return there.load();
    }});
    second.emplace_back(script::wait{[] { return false; }});
    m.guest(2).run_script(std::move(second));
    m.run();
    CHECK(m.ended_well());
}

TEST_CASE("what is sent to a vCPU that goes from processor to processor arrives") {
    for (auto const [cpus, processors] : {shape{4, 2}, shape{6, 3}, shape{8, 4}, shape{8, 2}}) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned rounds{150};
        constexpr std::uint8_t vector{0x60};
        threaded_machine<> m{cpus, processors};
        places seen;
        std::array<std::atomic<unsigned>, fake_smp::max_vcpus> got{};
        std::atomic<unsigned> up{0};
        for (unsigned id{0}; id != cpus; ++id) {
            seen.last[id] = id % processors;
            m.guest(id).handler = [&, id](event) -> steps {
                return {act([&, id] {
                            seen.see(id);
                            ++got[id];
                        }),
                        wrmsr(x2apic::eoi, 0), script::iret{}};
            };
            random_numbers random{id};
            auto code = come_up(id);
            code += meet(up, cpus);
            code.emplace_back(popf_on());
            // A circle: each hears from the one before, sometimes asleep, and computes for a while.
            for (unsigned round{1}; round <= rounds; ++round) {
                auto const arrived = [&, id, round] { return got[id] >= round; };
                if (id == 0)
                    code.emplace_back(x2apic::send(icr::fixed | vector | icr::to(1)));
                if (random.one_in(4))
                    code.emplace_back(script::wait{arrived});
                else
                    halt_until(code, arrived);
                if (id != 0)
                    code.emplace_back(x2apic::send(icr::fixed | vector | icr::to((id + 1) % cpus)));
                if (random.one_in(3)) {
                    auto& left = m.notes.emplace_back(random.below(4000));
                    code.emplace_back(script::wait{[&left] { return left-- == 0; }});
                }
            }
            code += m.end();
            m.guest(id).run_script(std::move(code));
        }
        m.run();
        CHECK(m.ended_well());
        for (unsigned id{0}; id != cpus; ++id)
            CHECK(got[id] == rounds);
        CHECK(seen.moves != 0);
    }
}
