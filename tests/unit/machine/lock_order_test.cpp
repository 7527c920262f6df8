// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "act_at_cpuid.hpp"
#include "whole_machine.hpp"

#include <array>

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::array ranks{lock_rank::machine, lock_rank::board, lock_rank::memory};

struct acting_pc : fake_pc {
    static constexpr unsigned max_vcpus{2};
    using handlers = exit_chain<leave_at_pause, act_at_cpuid>;
};
struct a_machine : whole_machine<acting_pc, hosted::host> {
    ~a_machine() { act_at_cpuid::forget(); }
};

} // namespace

TEST_CASE("a lock may be taken while only earlier ones are held") {
    for (auto const first : ranks)
        for (auto const second : ranks) {
            locks_held held{};
            CHECK(held.may_take(first));
            held.add(first);
            CHECK(held.may_take(second) == (first < second));
            if (first < second) {
                held.add(second);
                held.drop(first); // in any order
                CHECK(held.may_take(first) == false);
                held.drop(second);
                CHECK_FALSE(held.any());
            }
        }
}

TEST_CASE("a lock that is taken out of order is a panic of the host, before anybody waits") {
    a_machine m;
    auto const wrong = [](auto&& act) { CHECK_THROWS_AS(act(), hosted::panicked); };
    SECTION("access to a machine while its devices are held") {
        machine_context const board{*m.machine};
        wrong([&] { exclusive_access const held{*m.machine}; });
        wrong([&] { shared_access const held{*m.machine}; });
        wrong([&] { frozen_vcpu const held{m.cpu()}; });
        wrong([&] { machine_context const again{*m.machine}; });
    }
    SECTION("two kinds of access, or two vCPUs") {
        {
            shared_access const first{*m.machine};
            wrong([&] { frozen_vcpu const held{m.cpu()}; });
            wrong([&] { exclusive_access const held{*m.machine}; });
        }
        frozen_vcpu const first{m.cpu()};
        wrong([&] { frozen_vcpu const held{m.machine->cpu(1)}; });
        wrong([&] { shared_access const held{*m.machine}; });
    }
    SECTION("in an exit, without saying of which vCPU") {
        unsigned acts{0};
        act_at_cpuid::what = [&](auto) {
            wrong([&] { exclusive_access const held{*m.machine}; });
            wrong([&] { frozen_vcpu const held{m.machine->cpu(1)}; });
            exclusive_access const held{m.cpu()};
            ++acts;
        };
        m.run({script::exit{exits::cpuid{}}});
        CHECK(acts == 1);
    }
    SECTION("and names both") {
        machine_context const board{*m.machine};
        CHECK_THROWS_WITH((exclusive_access{*m.machine}),
                          "a lock is taken out of order: access to the machine, by who has the board");
        m.host.locks_held().add(lock_rank::memory); // as one that waits in `fault` for the map's lock
        CHECK_THROWS_WITH((machine_context{*m.machine}),
                          "a lock is taken out of order: the board, by who has the memory map");
        m.host.locks_held().drop(lock_rank::memory);
    }
    CHECK_FALSE(m.host.locks_held().any());
}

TEST_CASE("nothing is held behind what a machine does") {
    a_machine m;
    CHECK_FALSE(m.host.locks_held().any());
    {
        exclusive_access const held{*m.machine};
        machine_context const board{*m.machine};
        CHECK(m.host.locks_held().may_take(lock_rank::memory));
    }
    act_at_cpuid::what = [](auto) {};
    m.run({script::exit{exits::cpuid{}}, script::store{gpa{0x9000}, 1}, script::exit{exits::hlt{}, 1}});
    CHECK_FALSE(m.cpu().is_ready());
    CHECK_FALSE(m.host.locks_held().any());
}
