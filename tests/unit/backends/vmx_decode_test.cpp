// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "vmx_look.hpp"

#include <hv/backends/vmx.hpp>

#include <cstdint>
#include <map>
#include <string>

using namespace hv;
using namespace hv::test;
namespace parts = backends::vmx;

TEST_CASE("every basic exit reason means one exit") {
    std::map<std::uint32_t, std::string> const meanings{{1, "host_interrupt"},
                                                        {2, "triple_fault"},
                                                        {3, "host_interrupt"},
                                                        {4, "host_interrupt"},
                                                        {7, "interrupt_window"},
                                                        {8, "nmi_window"},
                                                        {9, "task_switch"},
                                                        {10, "cpuid"},
                                                        {11, "undefined_instruction"},
                                                        {12, "hlt"},
                                                        {13, "cache_control"},
                                                        {15, "rdpmc"},
                                                        {16, "tsc_read"},
                                                        {17, "undefined_instruction"},
                                                        {18, "hypercall"},
                                                        {19, "undefined_instruction"},
                                                        {20, "undefined_instruction"},
                                                        {21, "undefined_instruction"},
                                                        {22, "undefined_instruction"},
                                                        {23, "undefined_instruction"},
                                                        {24, "undefined_instruction"},
                                                        {25, "undefined_instruction"},
                                                        {26, "undefined_instruction"},
                                                        {27, "undefined_instruction"},
                                                        {28, "control_register"},
                                                        {29, "debug_register"},
                                                        {30, "io_port"},
                                                        {31, "msr_read"},
                                                        {32, "msr_write"},
                                                        {36, "mwait"},
                                                        {39, "monitor"},
                                                        {40, "pause"},
                                                        {43, "interrupt_window"},
                                                        {44, "nested_page_fault"},
                                                        {45, "end_of_interrupt"},
                                                        {46, "descriptor_table"},
                                                        {47, "descriptor_table"},
                                                        {48, "nested_page_fault"},
                                                        {50, "undefined_instruction"},
                                                        {51, "tsc_read"},
                                                        {52, "deadline"},
                                                        {53, "undefined_instruction"},
                                                        {54, "cache_control"},
                                                        {55, "xsetbv"},
                                                        {56, "apic_write"},
                                                        {59, "undefined_instruction"},
                                                        {60, "undefined_instruction"}};
    vmx_seat seat;
    for (std::uint32_t reason{1}; reason < 0x100; ++reason) {
        seat.model.next = [reason](vmx_model::guest& g) { g.exit(reason, 0); };
        recording_handler handler;
        CHECK(seat.enter(handler) == verdict::leave);
        REQUIRE(handler.seen.size() == 1);
        auto const found = meanings.find(reason);
        auto const expected = found == meanings.end() ? std::string{"unknown"} : found->second;
        CHECK(handler.last().substr(0, handler.last().find(' ')) == expected);
    }
}

TEST_CASE("XSA-278: every VMX instruction of a guest is undefined") {
    vmx_seat seat;
    for (std::uint32_t const reason : {19u, 20u, 21u, 22u, 23u, 24u, 25u, 26u, 27u, 50u, 53u}) {
        seat.model.next = [reason](vmx_model::guest& g) { g.exit(reason); };
        recording_handler handler;
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "undefined_instruction");
    }
    seat.cpu.set_cr4(x86::cr4::vmxe | x86::cr4::smxe);
    CHECK(seat.cpu.cr4() == 0);
    look(seat, [](vmx_model::guest& g) {
        CHECK(g.state.at(0x6006) == 0);
        CHECK((g.state.at(0x6804) & 0x6000) == 0x2000); // VMX operation needs it; the guest reads zero
        CHECK(g.state.at(0x6002) == ~std::uint64_t{0});
    });
}

TEST_CASE("an I/O exit says its address size and segment for strings, where the processor says it") {
    CHECK(parts::decode_io(0x3f8'0000, 0, true).port == 0x3f8);
    CHECK(parts::decode_io(0x60'0009, ~0u, true).size == 2);
    CHECK(parts::decode_io(0x60'0009, ~0u, true).address_size == 0);
    auto const outs = parts::decode_io(0x80'0033, 1u << 7 | 5u << 15, true);
    CHECK(outs.size == 4);
    CHECK((outs.string and outs.rep and not outs.in and outs.segment_known));
    CHECK(outs.segment == x86::segment_name::gs);
    CHECK(outs.address_size == 4);
    CHECK_FALSE(parts::decode_io(0x80'0013, 7u << 15, true).segment_known);
    CHECK_FALSE(parts::decode_io(0x80'0013, 5u << 15, false).segment_known);
    CHECK(parts::decode_io(0x80'0013, 1u << 7, false).address_size == 0);
}

TEST_CASE("an EPT violation of a walk with accessed and dirty flags is a write") {
    auto const walk = parts::decode_nested_page_fault(0x8b, 0x5000);
    CHECK(walk.page_walk);
    CHECK(walk.wanted == access::write);
    CHECK(walk.present);
    auto const fetch = parts::decode_nested_page_fault(0x184, 0x5000);
    CHECK_FALSE(fetch.page_walk);
    CHECK(fetch.wanted == access::execute);
    CHECK_FALSE(fetch.present);
    CHECK(parts::decode_nested_page_fault(0x101, 0x5000).page_walk); // no linear address: MOV to CR3
}

TEST_CASE("what the processor does not answer of a local APIC is a fault at its address") {
    auto const read = parts::decode_apic_access(0x0390);
    CHECK((read.address == gpa{0xfee0'0390} and read.wanted == access::read and not read.page_walk));
    auto const write = parts::decode_apic_access(0x1'12f0);
    CHECK((write.address == gpa{0xfee0'02f0} and write.wanted == access::write and not write.page_walk));
    CHECK(parts::decode_apic_access(0x2100).wanted == access::execute);
    CHECK(parts::decode_apic_access(0x3100).wanted == access::write); // a stack that a delivery pushes to
    CHECK_FALSE(parts::decode_apic_access(0x3100).page_walk);
    CHECK(parts::decode_apic_access(0xa000).page_walk);
    CHECK(parts::decode_apic_access(0xf000).page_walk);
}

TEST_CASE("accesses to control registers come decoded") {
    using form = exits::control_register::form;
    auto const mov = parts::decode_control_register(0xf04);
    CHECK((mov.number == 4 and mov.write and mov.decoded and mov.kind == form::mov and mov.source == x86::gpr::r15));
    auto const read = parts::decode_control_register(0x318);
    CHECK((read.number == 8 and not read.write and read.source == x86::gpr::rbx));
    CHECK(parts::decode_control_register(0x20).kind == form::clts);
    auto const lmsw = parts::decode_control_register(0x1234'0030);
    CHECK((lmsw.kind == form::lmsw and lmsw.machine_status_word == 0x1234 and lmsw.number == 0 and lmsw.write));
}

TEST_CASE("only instructions that exit have a length") {
    vmx_seat seat;
    recording_handler handler;
    for (std::uint32_t const reason : {0u, 1u, 2u, 7u, 8u, 43u, 44u, 45u, 56u, 48u, 49u, 52u, 0x100u}) {
        seat.model.next = [reason](vmx_model::guest& g) {
            g.length = 3;
            g.exit(reason, 0);
            g.state.set(0x4404, reason == 0 ? 0x8000'0306u : 0u);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == 0);
    }
    seat.model.next = [](vmx_model::guest& g) { // a task switch: of use where no event asked for it
        g.length = 5;
        g.exit(9, 0x28);
        g.state.set(0x4408, 0);
    };
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.instruction_length() == 5);
    seat.model.next = [](vmx_model::guest& g) { g.exit(10); };
    CHECK(seat.enter(handler) == verdict::leave); // a length that no instruction can have is not believed
    CHECK(seat.cpu.instruction_length() == 0);
}

TEST_CASE("descriptor-table exiting is on where the machine wants it, and its exits tell register and direction") {
    for (bool const wanted : {false, true}) {
        vmx_seat seat{{.trap_descriptor_tables = wanted}};
        look(seat, [&](vmx_model::guest& g) { CHECK((g.state.at(0x401e) >> 2 & 1) == (wanted ? 1 : 0)); });
    }
    // SDM Vol. 3C, "VM-Exit Instruction-Information Field": SGDT, SIDT, LGDT, LIDT; SLDT, STR, LLDT, LTR.
    using enum exits::descriptor_table::table;
    for (std::uint32_t identity{0}; identity < 4; ++identity) {
        auto const of_table = parts::decode_descriptor_table(parts::exit_code{46}, identity << 28 | 0x0fff'ffff);
        CHECK(of_table.which == (identity % 2 == 0 ? gdtr : idtr));
        CHECK(of_table.write == (identity >= 2));
        auto const of_segment = parts::decode_descriptor_table(parts::exit_code{47}, identity << 28 | 0xc000'0000);
        CHECK(of_segment.which == (identity % 2 == 0 ? ldtr : tr));
        CHECK(of_segment.write == (identity >= 2));
    }
}
