// SPDX-License-Identifier: BSD-2-Clause
#include "threaded_machine.hpp"

#include <atomic>

using namespace hv;
using namespace hv::test;

namespace {

constexpr unsigned rounds{200};

/// A loop around PAUSE that exits each time.
template <typename Until>
void spin_until(steps& code, Until until) {
    auto const again = code.size();
    code.emplace_back(script::exit{exits::pause{}});
    code.emplace_back(script::act{[until, again](backends::fake::vcpu& cpu) {
        if (not until())
            cpu.jump(again);
    }});
}

} // namespace

TEST_CASE("what goes around vCPUs of one processor takes one loop of PAUSE a step, and nobody's whole turn") {
    for (unsigned const cpus : {2u, 3u, 8u}) {
        threaded_machine<> m{cpus, 1};
        std::atomic<unsigned> served{};
        for (unsigned id{0}; id != cpus; ++id) {
            auto& code = m.guest(id).script;
            code += come_up(id);
            for (unsigned n{0}; n != rounds; ++n) {
                spin_until(code, [&served, mine = n * cpus + id] { return served == mine; });
                code.emplace_back(act([&served] { ++served; }));
            }
            code += m.end();
        }
        m.run();
        CHECK(m.ended_well());
        CHECK(served == rounds * cpus);
        CHECK(m.host.ways_given(0) <= rounds * cpus + 100 * cpus);
    }
}

TEST_CASE("a vCPU that spins alone on its processor goes on at once") {
    threaded_machine<> m{1, 1};
    unsigned turns{};
    spin_until(m.guest(0).script, [&turns] { return ++turns == 1000; });
    m.guest(0).script += m.end();
    m.run();
    CHECK(m.ended_well());
    CHECK(m.host.ways_given(0) == 1000);
    CHECK(m.host.slices(0) < 10);
}
