// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "vmx_look.hpp"

#include <hv/policy.hpp>

#include <cstdint>

using namespace hv;
using namespace hv::test;

TEST_CASE("PAUSE exits always, never, or at the end of a loop's window") {
    for (auto const policy : {pause_policy::runs, pause_policy::exits, pause_policy::loop_exits}) {
        vmx_seat seat{{.pause = policy, .pauses = {.gap = 77, .window = 9999, .count = 33}}};
        CHECK(seat.processors[0].examine(seat.host).pause_loops);
        look(seat, [&](vmx_model::guest& g) {
            bool const loops{policy == pause_policy::loop_exits};
            CHECK((g.state.at(0x4002) >> 30 & 1) == (policy == pause_policy::exits ? 1 : 0));
            CHECK((g.state.at(0x401e) >> 10 & 1) == (loops ? 1 : 0));
            CHECK(g.state.at(0x4020) == (loops ? 77 : 0x5a5a'5a5a)); // nobody wrote it
            CHECK(g.state.at(0x4022) == (loops ? 9999 : 0x5a5a'5a5a));
        });
    }
}

TEST_CASE("a processor that tells no loops runs the machine without exits of PAUSE") {
    vmx_seat seat;
    seat.host.set_msr(0x48b, seat.host.read_msr(0x48b).value & ~(1ull << 42));
    CHECK_FALSE(seat.processors[0].examine(seat.host).pause_loops);
    seat.cpu.detach(seat.host, seat.processors[0]);
    REQUIRE(seat.machine.create(seat.host, {.nested_root = seat.tables.root(seat.host),
                                            .pause = pause_policy::loop_exits}) == status::ok);
    REQUIRE(seat.cpu.create(seat.host, seat.machine) == status::ok);
    seat.cpu.attach(seat.host, seat.processors[0]);
    look(seat, [](vmx_model::guest& g) {
        CHECK((g.state.at(0x4002) >> 30 & 1) == 0);
        CHECK((g.state.at(0x401e) >> 10 & 1) == 0);
    });
}

TEST_CASE("RDTSCP and INVPCID are enabled where the guest's CPUID shows them") {
    for (bool const rdtscp : {false, true})
        for (bool const invpcid : {false, true}) {
            vmx_seat seat{{.shows_rdtscp = rdtscp, .shows_invpcid = invpcid}};
            look(seat, [&](vmx_model::guest& g) {
                CHECK((g.state.at(0x401e) >> 3 & 1) == (rdtscp ? 1 : 0));
                CHECK((g.state.at(0x401e) >> 12 & 1) == (invpcid ? 1 : 0));
            });
        }
}
