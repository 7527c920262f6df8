// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "svm_look.hpp"

#include <hv/backends/svm.hpp>
#include <hv/policy.hpp>

#include <cstdint>

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint32_t filter{1u << 10}, threshold{1u << 12}; ///< of CPUID 8000_000Ah EDX

struct seen {
    bool intercepted{};
    unsigned count{}, gap{};
};

/// What a VM has whose machine wants this, on a processor with these features.
auto vmcb_of(pause_policy policy, std::uint32_t features) -> seen {
    svm_seat seat;
    seat.model.other_features = features;
    seat.describe_processor();
    seat.cpu.detach(seat.host, seat.processors[0]);
    REQUIRE(seat.machine.create(seat.host, {.nested_root = seat.tables.root(seat.host),
                                            .pause = policy,
                                            .pauses = {.gap = 77, .window = 9999, .count = 33}}) == status::ok);
    REQUIRE(seat.cpu.create(seat.host, seat.machine) == status::ok);
    seat.cpu.attach(seat.host, seat.processors[0]);
    CHECK(seat.processors[0].examine(seat.host).pause_loops == ((features & filter) != 0));
    seen found;
    look(seat, [&](vmcb const& b) {
        found = {.intercepted = (at<std::uint32_t>(b, 0x00c) >> 23 & 1) != 0,
                 .count = at<std::uint16_t>(b, 0x03e),
                 .gap = at<std::uint16_t>(b, 0x03c)};
    });
    return found;
}

} // namespace

TEST_CASE("PAUSE exits always, never, or behind as many of a loop as the processor can count") {
    for (auto const features : {0u, filter, filter | threshold}) {
        auto const runs = vmcb_of(pause_policy::runs, features), exits = vmcb_of(pause_policy::exits, features);
        CHECK((not runs.intercepted and runs.count == 0 and runs.gap == 0));
        CHECK((exits.intercepted and exits.count == 0 and exits.gap == 0));
    }
    auto const none = vmcb_of(pause_policy::loop_exits, 0);
    CHECK((not none.intercepted and none.count == 0 and none.gap == 0));
    auto const simple = vmcb_of(pause_policy::loop_exits, filter);
    CHECK((simple.intercepted and simple.count == 33 and simple.gap == 0));
    auto const advanced = vmcb_of(pause_policy::loop_exits, filter | threshold);
    CHECK((advanced.intercepted and advanced.count == 33 and advanced.gap == 77));
}

TEST_CASE("what the guest's CPUID hides is intercepted where the processor has an intercept for it") {
    for (bool const processor_has_invpcid : {false, true})
        for (bool const shown : {false, true}) {
            svm_seat seat;
            seat.host.set_cpuid(0, 0, {.eax = 7});
            seat.host.set_cpuid(7, 0, {.ebx = processor_has_invpcid ? 1u << 10 : 0});
            seat.cpu.detach(seat.host, seat.processors[0]);
            REQUIRE(seat.machine.create(seat.host, {.nested_root = seat.tables.root(seat.host),
                                                    .shows_rdtscp = shown,
                                                    .shows_invpcid = shown}) == status::ok);
            REQUIRE(seat.cpu.create(seat.host, seat.machine) == status::ok);
            seat.cpu.attach(seat.host, seat.processors[0]);
            look(seat, [&](vmcb const& b) {
                CHECK((at<std::uint32_t>(b, 0x010) >> 7 & 1) == (shown ? 0 : 1));
                CHECK((at<std::uint32_t>(b, 0x014) >> 2 & 1) == (processor_has_invpcid and not shown ? 1 : 0));
            });
        }
}
