// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "exit_summary.hpp"

#include <hv/address.hpp>
#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/exception.hpp>

#include <cstdint>
#include <vector>

/// Event delivery of the backend contract. Part of contract.hpp.
namespace hv::test {

TEMPLATE_LIST_TEST_CASE("an event in the slot is delivered by the next entry, once", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    recording_handler handler;
    CHECK_FALSE(cpu.injection_pending());
    auto const e = event::make(x86::exception::general_protection, 0x18);
    cpu.inject(e);
    CHECK(cpu.injection_pending());
    CHECK(seat.delivered().empty());
    for (int i{0}; i < 2; ++i) {
        seat.will_exit(exits::hlt{});
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK_FALSE(cpu.injection_pending());
        CHECK(seat.delivered() == std::vector{e});
    }
    CHECK_FALSE(cpu.take_interrupted_event().valid());
}

TEMPLATE_LIST_TEST_CASE("an event that was withdrawn is never delivered", "", seats) {
    TestType seat;
    recording_handler handler;
    auto const e = event::make(event_type::external_interrupt, 0x40);
    CHECK_FALSE(seat.cpu.withdraw_injection().valid());
    seat.cpu.inject(e);
    CHECK(seat.cpu.withdraw_injection() == e);
    CHECK_FALSE(seat.cpu.injection_pending());
    CHECK_FALSE(seat.cpu.withdraw_injection().valid());
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.delivered().empty());
}

TEMPLATE_LIST_TEST_CASE("an event whose delivery exited comes back once", "", seats) {
    for (auto const e : {event::make(event_type::external_interrupt, 0x51), event::make(x86::exception::page_fault, 2),
                         event::make(event_type::software_interrupt, 0x80), event::make(x86::exception::breakpoint)}) {
        TestType seat;
        recording_handler handler;
        seat.cpu.set_rflags(x86::rflags::interrupt); // or an external interrupt could not be on its way
        seat.cpu.inject(e);
        seat.delivery_will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}});
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.delivered().empty());
        CHECK_FALSE(seat.cpu.injection_pending());
        CHECK(seat.cpu.take_interrupted_event() == e);
        CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
    }
}

TEMPLATE_LIST_TEST_CASE("an interrupted event that nobody took does not outlive the next exit", "", seats) {
    TestType seat;
    recording_handler handler;
    seat.will_exit(exits::hlt{}, 1, event::make(x86::exception::page_fault, 2));
    CHECK(seat.enter(handler) == verdict::leave);
    seat.will_exit(exits::hlt{}, 1);
    seat.cpu.set_rip(seat.cpu.rip() + 1);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
}

TEMPLATE_LIST_TEST_CASE("NMIs are blocked from the delivery of one to its IRET", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    recording_handler handler{.answer = verdict::resume};
    auto const nmi = event::make(event_type::nmi, 2);
    CHECK_FALSE(cpu.nmi_blocked());
    cpu.inject(nmi);
    CHECK_FALSE(cpu.nmi_blocked()); // not delivered yet
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::resume);
    CHECK(seat.delivered() == std::vector{nmi});
    CHECK(cpu.nmi_blocked());

    SECTION("taking an interrupt back from the slot does not end it") {
        cpu.inject(event::make(event_type::external_interrupt, 0x40));
        CHECK(cpu.withdraw_injection().valid());
        CHECK(cpu.nmi_blocked());
    }
    SECTION("the window opens at the IRET, and one that has not executed yet keeps the next NMI off") {
        seat.will_iret();
        CHECK(seat.enter(handler) == verdict::resume);
        CHECK(handler.last() == "nmi_window");
        CHECK_FALSE(cpu.nmi_blocked());
        CHECK(cpu.interrupt_shadow() == seat.nmi_window_comes_before_iret);
    }
    SECTION("moving to another processor does not end it") {
        seat.move_to(1);
        CHECK(cpu.nmi_blocked());
    }
    SECTION("it can be saved and restored") {
        cpu.set_nmi_blocked(false);
        CHECK_FALSE(cpu.nmi_blocked());
        cpu.set_nmi_blocked(true);
        CHECK(cpu.nmi_blocked());
        seat.will_iret();
        CHECK(seat.enter(handler) == verdict::resume);
        CHECK(handler.last() == "nmi_window");
    }
}

TEMPLATE_LIST_TEST_CASE("an IRET without an NMI before it does not exit", "", seats) {
    TestType seat;
    recording_handler handler;
    seat.will_iret();
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "hlt");
}

TEMPLATE_LIST_TEST_CASE("an NMI that was withdrawn or cut short blocks no other", "", seats) {
    TestType seat;
    recording_handler handler;
    auto const nmi = event::make(event_type::nmi, 2);
    seat.cpu.inject(nmi);
    CHECK(seat.cpu.withdraw_injection() == nmi);
    CHECK_FALSE(seat.cpu.nmi_blocked());
    seat.cpu.inject(nmi);
    seat.delivery_will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.take_interrupted_event() == nmi);
    CHECK_FALSE(seat.cpu.nmi_blocked());
}

TEMPLATE_LIST_TEST_CASE("the interrupt window opens when the guest can take an interrupt, once a request", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    recording_handler handler;
    auto const enter = [&] {
        seat.will_exit(exits::hlt{});
        CHECK(seat.enter(handler) == verdict::leave);
        return handler.last();
    };
    cpu.set_rflags(x86::rflags::interrupt);
    CHECK(enter() == "hlt");

    cpu.request_interrupt_window(true);
    cpu.set_rflags(0);
    CHECK(enter() == "hlt");
    cpu.set_rflags(x86::rflags::interrupt);
    cpu.set_interrupt_shadow(true);
    CHECK(enter() == "hlt");
    cpu.set_interrupt_shadow(false);
    CHECK(enter() == "interrupt_window");
    CHECK(enter() == "hlt");

    for (std::uint8_t priority{0}; priority < 16; ++priority) { // CR8 does not hold it back
        cpu.set_task_priority(priority);
        cpu.request_interrupt_window(true);
        cpu.request_interrupt_window(true);
        CHECK(enter() == "interrupt_window");
        CHECK(cpu.task_priority() == priority);
        CHECK(enter() == "hlt");
    }
    cpu.request_interrupt_window(true);
    cpu.request_interrupt_window(false);
    CHECK(enter() == "hlt");
}

TEMPLATE_LIST_TEST_CASE("a guest with an event on its way gets it before its window opens", "", seats) {
    TestType seat;
    recording_handler handler;
    seat.cpu.set_rflags(x86::rflags::interrupt);
    seat.cpu.request_interrupt_window(true);
    seat.cpu.inject(event::make(event_type::external_interrupt, 0x31));
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "hlt"); // interrupts are off in the handler of the first
    CHECK(seat.delivered().size() == 1);
}

TEMPLATE_LIST_TEST_CASE("moving RIP ends the interrupt shadow", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    cpu.set_rip(0x1000);
    cpu.set_interrupt_shadow(true);
    cpu.set_rip(0x1000);
    CHECK(cpu.interrupt_shadow());
    cpu.set_rip(0x1002);
    CHECK_FALSE(cpu.interrupt_shadow());
}

TEMPLATE_LIST_TEST_CASE("CR8 has four bits", "", seats) {
    TestType seat;
    seat.cpu.request_interrupt_window(true);
    for (unsigned priority{0}; priority < 16; ++priority) {
        seat.cpu.set_task_priority(static_cast<std::uint8_t>(priority));
        CHECK(seat.cpu.task_priority() == priority);
        seat.cpu.set_task_priority(static_cast<std::uint8_t>(priority | 0xf0));
        CHECK(seat.cpu.task_priority() == priority);
    }
}

/// Two pages of host memory that a guest page can be mapped to.

} // namespace hv::test
