// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "exit_summary.hpp"

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/x86/exception.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>
#include <string>
#include <vector>

/// Exits and lifetimes of the backend contract. Part of contract.hpp.
namespace hv::test {

TEMPLATE_LIST_TEST_CASE("every exit arrives once, with what it says", "", seats) {
    using namespace exits;
    using enum x86::segment_name;
    instruction_bytes some{};
    some.count = 3;
    some.bytes = {0x8b, 0x07, 0x90};
    using form = control_register::form;
    std::vector<script::any_exit> const all{
        io_port{0x3f8, 1, false, false, false, 0, ds, false},
        io_port{0x60, 1, true, false, false, 0, ds, false},
        io_port{0xcf8, 4, false, false, false, 4, ds, false},
        io_port{0x1f0, 2, true, true, true, 2, ds, false},
        io_port{0xffff, 2, false, true, true, 8, fs, true},
        exits::cpuid{},
        hlt{},
        msr_read{0xc000'0080},
        msr_write{0x277, 0x1234'5678'9abc'def0},
        nested_page_fault{gpa{0xfee0'0300}, access::write, false, false, {}},
        nested_page_fault{gpa{0x1000}, access::read, true, true, {}},
        nested_page_fault{gpa{0xffff'f000}, access::execute, false, true, {}},
        nested_page_fault{gpa{0xfec0'0000}, access::read, false, false, some},
        control_register{0, true, true, form::mov, x86::gpr::rbx, 0},
        control_register{4, true, true, form::mov, x86::gpr::r15, 0},
        control_register{0, false, true, form::mov, x86::gpr::rax, 0},
        control_register{8, true, false, form::mov, x86::gpr::rax, 0},
        debug_register{7, true, true, x86::gpr::rsi},
        debug_register{6, false, true, x86::gpr::r8},
        descriptor_table{descriptor_table::table::idtr, true},
        descriptor_table{descriptor_table::table::tr, false},
        exits::exception{x86::exception::alignment_check, 0, 0},
        exits::exception{x86::exception::general_protection, 0x1234, 0},
        exits::exception{x86::exception::page_fault, 6, 0xdead'beef'000},
        exits::exception{x86::exception::debug, 0, 0x4001},
        exits::exception{x86::exception::invalid_opcode, 0, 0},
        hypercall{},
        undefined_instruction{},
        xsetbv{0, 0x1'0000'0007},
        cache_control{},
        pause{},
        monitor{},
        mwait{},
        tsc_read{false},
        tsc_read{true},
        rdpmc{},
        interrupt_window{},
        nmi_window{},
        host_interrupt{},
        machine_check{},
        task_switch{0x28, task_switch::source::call, false, 0},
        task_switch{0x30, task_switch::source::jmp, false, 0},
        task_switch{0x38, task_switch::source::iret, false, 0},
        task_switch{0x40, task_switch::source::gate, true, 0x18},
        triple_fault{},
        unknown{0x404, {1, 2}},
    };
    for (auto const& expected : all) {
        TestType seat;
        recording_handler handler;
        seat.will_exit(expected);
        CHECK(seat.enter(handler) == verdict::leave);
        REQUIRE(handler.seen.size() == 1);
        if constexpr (requires { seat.as_reported(expected); })
            CHECK(handler.last() == summary(seat.as_reported(expected)));
        else
            CHECK(handler.last() == summary(expected));
    }
}

TEMPLATE_LIST_TEST_CASE("the handler's verdict comes back unchanged", "", seats) {
    for (auto const answer : {verdict::resume, verdict::advance, verdict::leave}) {
        TestType seat;
        recording_handler handler{.answer = answer};
        seat.will_exit(exits::cpuid{});
        CHECK(seat.enter(handler) == answer);
    }
}

/// How often the host had taken interrupts when the handler ran.
template <typename Host>
struct interrupt_count {
    Host& host;
    std::uint64_t taken{};
    auto on(auto const&) -> verdict {
        taken = host.interrupt_windows();
        return verdict::leave;
    }
};

TEMPLATE_LIST_TEST_CASE("host interrupts are taken before the handler runs, and only for them", "", seats) {
    TestType seat;
    interrupt_count handler{seat.host};
    seat.will_exit(exits::cpuid{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.taken == 0);
    seat.will_exit(exits::host_interrupt{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.taken == 1);
}

TEMPLATE_LIST_TEST_CASE("the length of the instruction comes with its exit and with no other", "", seats) {
    TestType seat;
    recording_handler handler;
    for (std::uint8_t length{1}; length <= 15; ++length) {
        seat.cpu.set_rip(0x1000);
        seat.will_exit(exits::cpuid{}, length);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == length);
    }
    seat.cpu.set_rip(0x1000);
    seat.will_exit(exits::nested_page_fault{gpa{0}, access::read, false, false, {}});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.instruction_length() == 0);
}

TEMPLATE_LIST_TEST_CASE("creation that runs out of memory leaves nothing behind", "", seats) {
    using backend = typename TestType::backend;
    TestType seat;
    auto const before = seat.host.bytes_in_use();
    for (std::uint64_t allowed{0}; allowed < 8; ++allowed) {
        typename backend::vm machine;
        typename backend::vcpu cpu;
        seat.host.fail_after(allowed);
        auto made = machine.create(seat.host, {});
        if (made == status::ok)
            made = cpu.create(seat.host, machine);
        seat.host.fail_after(seat.host.unlimited);
        CHECK((made == status::ok or made == status::out_of_memory));
        CHECK((allowed != 0 or made == status::out_of_memory));
        cpu.destroy(seat.host);
        machine.destroy(seat.host);
        cpu.destroy(seat.host);
        machine.destroy(seat.host);
        CHECK(seat.host.bytes_in_use() == before);
    }
}

TEMPLATE_LIST_TEST_CASE("a processor cannot be enabled twice and can be enabled again", "", seats) {
    typename TestType::backend::processor p;
    TestType seat;
    if constexpr (requires { seat.prepare_msrs(); })
        seat.prepare_msrs();
    auto const before = seat.host.bytes_in_use();
    CHECK(p.examine(seat.host).verdict == status::ok);
    CHECK(p.examine(seat.host).missing.empty());
    CHECK(p.enable(seat.host) == status::ok);
    CHECK(p.enable(seat.host) == status::busy);
    p.disable(seat.host);
    p.disable(seat.host);
    CHECK(seat.host.bytes_in_use() == before);
    CHECK(p.enable(seat.host) == status::ok);
    p.disable(seat.host);
}

TEMPLATE_LIST_TEST_CASE("a dump says where the guest is, in lines that were not cut", "", seats) {
    TestType seat;
    seat.cpu.set_rip(0xffff'8000'dead'beef);
    seat.cpu.dump(seat.host);
    std::size_t found{};
    for (auto const& line : seat.host.log_lines()) {
        found += line.find("ffff8000deadbeef") != std::string::npos;
        CHECK(line.size() < 160);
    }
    CHECK(found == 1);
}

} // namespace hv::test
