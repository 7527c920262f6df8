// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "vmx_look.hpp"

#include <hv/backends/vmx.hpp>

#include <cstdint>
#include <set>

using namespace hv;
using namespace hv::test;
namespace parts = backends::vmx;

TEST_CASE("VPIDs are never zero, never shared in a generation, and a new generation flushes everything") {
    backends::address_spaces spaces;
    spaces.start(5);
    std::set<std::uint32_t> used;
    for (unsigned i{0}; i < 12; ++i) {
        auto const granted = spaces.take();
        CHECK(granted.tag != 0);
        CHECK(granted.tag < 5);
        CHECK(granted.flush_all == (i % 4 == 0));
        if (granted.flush_all)
            used.clear();
        CHECK(used.insert(granted.tag).second);
        CHECK(granted.generation == i / 4 + 1);
    }
    spaces.start(parts::vpid_count);
    CHECK(spaces.take().tag == 1);
}

TEST_CASE("changes of paging invalidate by VPID, changes of the nested tables by EPT pointer, others nothing") {
    vmx_seat seat;
    auto& cpu = seat.cpu;
    auto& p = seat.model.processors[0];
    look(seat, [](vmx_model::guest&) {});
    auto const cost = [&](auto change) {
        auto const vpids = p.invvpids, epts = p.invepts;
        change();
        look(seat, [](vmx_model::guest&) {});
        return std::pair{p.invvpids - vpids, p.invepts - epts};
    };
    using costs = std::pair<unsigned, unsigned>;
    CHECK(cost([] {}) == costs{0, 0});
    CHECK(cost([&] { cpu.set_cr3(0x1000); }) == costs{1, 0});
    CHECK(cost([&] { cpu.set_cr4(x86::cr4::pae); }) == costs{1, 0});
    CHECK(cost([&] { cpu.set_cr4(x86::cr4::pae); }) == costs{0, 0});
    CHECK(cost([&] { cpu.set_cr0(cpu.cr0() ^ x86::cr0::wp); }) == costs{1, 0});
    CHECK(cost([&] { cpu.set_cr0(cpu.cr0() ^ x86::cr0::ts); }) == costs{0, 0});
    CHECK(cost([&] { cpu.set_efer(x86::efer::nxe); }) == costs{1, 0});
    CHECK(cost([&] { cpu.flush_translations(); }) == costs{0, 1});
    CHECK(cost([&] { cpu.set_rip(7); }) == costs{0, 0});
}

TEST_CASE("each move to another processor begins with a new VPID and without translations of these tables") {
    vmx_seat seat;
    std::set<std::uint64_t> seen;
    for (unsigned i{0}; i < 6; ++i) {
        auto const before = seat.model.current().invepts;
        look(seat, [&](vmx_model::guest& g) {
            CHECK(g.state.at(0) != 0);
            seen.insert(std::uint64_t{hosted::this_processor} << 16 | g.state.at(0));
        });
        CHECK(seat.model.current().invepts == before + 1);
        seat.move_to(1 - hosted::this_processor);
    }
    CHECK(seen.size() == 6);
}

TEST_CASE("a VMCS works on one processor at a time, with VMLAUNCH after each move and VMRESUME between") {
    vmx_seat seat; // the model refuses everything else
    for (unsigned i{0}; i < 4; ++i) {
        for (unsigned n{0}; n < 3; ++n)
            look(seat, [](vmx_model::guest&) {});
        seat.move_to(1 - hosted::this_processor);
    }
    CHECK(seat.model.entries == 12);
}

TEST_CASE("accessed and dirty flags are on where the processor has them") {
    for (bool const has : {true, false}) {
        vmx_seat seat;
        if (not has)
            seat.host.set_msr(0x48c, seat.host.read_msr(0x48c).value & ~(1ull << 21));
        parts::vm machine;
        modelled_vmx::vcpu cpu;
        REQUIRE(machine.create(seat.host, {.nested_root = seat.tables.root(seat.host)}) == status::ok);
        REQUIRE(cpu.create(seat.host, machine) == status::ok);
        CHECK((cpu.fields().read<parts::ept_pointer>() >> 6 & 1) == (has ? 1 : 0));
        cpu.destroy(seat.host);
        machine.destroy(seat.host);
    }
}

TEST_CASE("a vCPU whose VPID another has by now takes a new one, and the processor has forgotten all before that") {
    vmx_seat seat;
    auto& processor = seat.processors[0];
    auto& invalidations = seat.model.processors[0].invvpids;
    std::uint64_t first{}, last{};
    look(seat, [&first](vmx_model::guest& g) { first = g.state.at(0); });
    seat.cpu.detach(seat.host, processor);
    auto const before = invalidations;
    for (unsigned i{0}; i != parts::vpid_count and last != first; ++i) {
        CHECK(invalidations == before);
        modelled_vmx::vcpu other;
        REQUIRE(other.create(seat.host, seat.machine) == status::ok);
        other.attach(seat.host, processor);
        seat.model.next = [&last](vmx_model::guest& g) {
            last = g.state.at(0);
            g.exit(12);
        };
        leave_always handler;
        REQUIRE(modelled_vmx::enter(seat.host, processor, other, handler) == verdict::leave);
        other.detach(seat.host, processor);
        other.destroy(seat.host);
    }
    CHECK(last == first);
    CHECK(invalidations == before + 1);
    seat.cpu.attach(seat.host, processor);
    look(seat, [last](vmx_model::guest& g) {
        CHECK(g.state.at(0) != last);
        CHECK(g.state.at(0) != 0);
    });
}
