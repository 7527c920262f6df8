// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "exit_summary.hpp"
#include "vmx_look.hpp"
#include "vmx_seat.hpp"

#include <cstdint>
#include <utility>
#include <variant>

using namespace hv;
using namespace hv::test;

namespace {

/// A host whose CR2 nobody else needs while a guest is there.
struct keeping_host : hosted::host {
    using hosted::host::host;
    static constexpr bool keeps_cr2{true};
};
static_assert(keeps_cr2<keeping_host> and not keeps_cr2<hosted::host>);

} // namespace

TEST_CASE("on a host that keeps CR2 the guest's is in the processor from attach to detach") {
    vmx_seat seat;
    auto& p = seat.model.processors[0];
    seat.cpu.detach(seat.host, seat.processors[0]);
    keeping_host host{hosted::host_config{.memory = std::size_t{16} << 20, .processors = 2}};
    for (auto const index : {x86::msr::ia32_efer, x86::msr::ia32_pat}) // what the VMCS says of a host
        host.set_msr(index, seat.host.read_msr(index).value);
    seat.cpu.set_cr2(0x1000);
    seat.cpu.attach(host, seat.processors[0]);
    CHECK(p.cr2 == 0x1000);
    seat.cpu.set_cr2(0x2000);
    CHECK(p.cr2 == 0x2000);
    recording_handler handler;
    for (std::uint64_t round{0}; round < 3; ++round) {
        seat.model.next = [&](vmx_model::guest& g) {
            REQUIRE(p.cr2 == 0x2000 + round);
            p.cr2 = 0x2000 + round + 1; // a fault of the guest's
            g.exit(12);
        };
        CHECK(vmx_seat::backend::enter(host, seat.processors[0], seat.cpu, handler) == verdict::leave);
        CHECK(seat.cpu.cr2() == 0x2000 + round + 1);
    }
    seat.cpu.detach(host, seat.processors[0]);
    p.cr2 = 0x7777;
    CHECK(seat.cpu.cr2() == 0x2003);
    seat.cpu.attach(seat.host, seat.processors[0]);
}

TEST_CASE("IN and OUT say where the next instruction is") {
    vmx_seat seat;
    recording_handler handler;
    seat.cpu.set_rip(0x1000);
    for (auto const& [size, string] : {std::pair{1u, false}, std::pair{2u, false}, std::pair{4u, false}}) {
        seat.will_exit(exits::io_port{0x61, size, true, string, false, 0, x86::segment_name::ds, false}, 2);
        CHECK(seat.enter(handler) == verdict::leave);
        auto const exit = std::get<exits::io_port>(handler.exits.back());
        CHECK(exit.port == 0x61);
        CHECK(exit.size == size);
        CHECK(exit.in);
        CHECK(exit.next_rip == 0x1002);
    }
}

TEST_CASE("a refused entry interrupted nothing, whatever the exit before it did") {
    vmx_seat seat;
    recording_handler handler;
    auto const lost = event::make(event_type::external_interrupt, 0x31);
    seat.will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}}, 0, lost);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.take_interrupted_event() == lost);
    look(seat, [](vmx_model::guest&) {});
    look(seat, [](vmx_model::guest&) {}); // nothing is due any more
    seat.will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}}, 0, lost);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.take_interrupted_event() == lost);
    seat.model.refuse_with = 0x8000'0021;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(std::holds_alternative<exits::entry_failed>(handler.exits.back()));
    CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
}

TEST_CASE("an interrupted event that nobody takes is forgotten by the next entry") {
    vmx_seat seat;
    recording_handler handler;
    auto const lost = event::make(event_type::external_interrupt, 0x31);
    for (int i{0}; i < 2; ++i) {
        seat.will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}}, 0, lost);
        CHECK(seat.enter(handler) == verdict::leave);
        look(seat, [](vmx_model::guest&) {});
        CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
    }
}

TEST_CASE("whatever changes how instructions are fetched changes what says so") {
    vmx_seat seat;
    auto& cpu = seat.cpu;
    cpu.set_cr4(0x20);
    auto before = cpu.fetch_state();
    auto const changed = [&] { return std::exchange(before, cpu.fetch_state()) != before; };
    CHECK_FALSE(changed());
    cpu.set_cr3(0x5000);
    CHECK(changed());
    cpu.set_cr4(0x10'0020); // SMEP
    CHECK(changed());
    cpu.set_efer(x86::efer::nxe);
    CHECK(changed());
    cpu.set_cr0(0x8000'0031);
    CHECK(changed());
    for (auto const name : {x86::segment_name::cs, x86::segment_name::ss}) { // the mode, and the privilege
        auto s = cpu.segment(name);
        s.access ^= 0x60;
        cpu.set_segment(name, s);
        CHECK(changed());
    }
    look(seat, [](vmx_model::guest& g) { g.state.set(0x6802, 0x6000); }); // MOV to CR3 does not exit
    CHECK(changed());
    CHECK_FALSE(changed());
}
