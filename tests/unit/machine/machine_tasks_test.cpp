// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;
using source = exits::task_switch::source;
using x86::gpr;
using events = std::vector<event>;

namespace {

constexpr std::uint64_t gdt_at{0x2000}, old_tss{0x3000}, new_tss{0x4000};
constexpr std::uint16_t old_task{0x20}, new_task{0x28};

/// A machine with a guest in 32-bit protected mode that has two tasks.
struct two_tasks : whole_machine<> {
    two_tasks() {
        place_code({0xea, 0, 0, 0, 0, new_task, 0}); // JMP FAR
        word(gdt_at + 0x10, 0x00cf'9b00'0000'ffff);
        word(gdt_at + 0x18, 0x00cf'9300'0000'ffff);
        word(gdt_at + old_task, 0x0000'8b00'3000'0067);
        word(gdt_at + new_task, 0x0000'8900'4000'0067);
        guest().set_gdtr({.base = gdt_at, .limit = 0x2f});
        guest().set_segment(x86::segment_name::tr,
                            {.base = old_tss, .limit = 0x67, .access = 0x8b, .selector = old_task});
        word(new_tss + 0x20, 0x0000'0202'0000'5000); // EIP, EFLAGS
        word(new_tss + 0x38, 0x7000);                // ESP
        word(new_tss + 0x48, 0x10'0000'0018);        // ES, CS
        word(new_tss + 0x50, 0x18'0000'0018);
        word(new_tss + 0x58, 0x18'0000'0018);
    }
    void word(std::uint64_t address, std::uint64_t value) {
        for (unsigned i{0}; i < 8; ++i)
            poke(address + i, {static_cast<unsigned>(value >> 8 * i & 0xff)});
    }
    void switches(source reason, std::uint8_t length = 0, event cause = {}) {
        run({script::exit{exits::task_switch{.selector = new_task,
                                             .reason = reason,
                                             .has_error_code = cause.has_error_code(),
                                             .error_code = cause.error_code()},
                          length, cause}});
    }
    [[nodiscard]] auto saved_eip() -> std::uint32_t { return peek<std::uint32_t>(old_tss + 0x20); }
    void refuse() { word(gdt_at + new_task, 0x0000'8b00'4000'0067); } // busy
};

} // namespace

TEST_CASE("a task goes on behind the instruction that left it, its length told or decoded") {
    for (auto const length : std::initializer_list<std::uint8_t>{0, 7, 9}) {
        two_tasks m;
        m.switches(source::jmp, length);
        CHECK(m.saved_eip() == code_at + (length == 0 ? 7u : length));
        CHECK(m.guest().rip() == 0x5000);
        CHECK(m.gpr(gpr::rsp) == 0x7000);
        CHECK((m.guest().cr0() & x86::cr0::ts) != 0);
        CHECK(m.stopped() == stop_kind::none);
        CHECK(m.delivered().empty());
    }
}

TEST_CASE("the switch is the delivery of the event that asked for it") {
    two_tasks m;
    m.switches(source::gate, 0, event::make(x86::exception::general_protection, 0x58));
    CHECK(m.saved_eip() == code_at); // a fault: the instruction executes again
    CHECK(m.delivered().empty());
    CHECK(m.gpr(gpr::rsp) == 0x6ffc);
    CHECK(m.peek<std::uint32_t>(0x6ffc) == 0x58);
    CHECK_FALSE(m.guest().nmi_blocked());
}

TEST_CASE("an NMI through a task gate blocks NMIs until the task's IRET") {
    two_tasks m;
    m.switches(source::gate, 0, nmi_event);
    CHECK(m.guest().nmi_blocked());
    CHECK(m.delivered().empty());
    m.guest().set_gpr(gpr::rax, 0);
    m.poke(0x5000, {0xcf});
    m.run({script::exit{
        exits::task_switch{.selector = old_task, .reason = source::iret, .has_error_code = false, .error_code = 0}}});
    CHECK_FALSE(m.guest().nmi_blocked());
    CHECK(m.guest().rip() == code_at);
}

TEST_CASE("a switch that fails before its commit lets the event go in again, or combines with it") {
    two_tasks m;
    m.refuse();
    m.switches(source::gate, 0, external(0x50));
    CHECK(m.delivered() == events{event::make(x86::exception::general_protection, new_task | 1)});
    CHECK(m.guest().rip() == code_at);
    m.interrupts(true);
    m.run({});
    CHECK(m.delivered() == events{external(0x50)}); // taken from its controller, not lost
    two_tasks d;
    d.refuse();
    d.switches(source::gate, 0, event::make(x86::exception::invalid_tss, 0x10));
    CHECK(d.delivered() == events{event::make(x86::exception::double_fault, 0)});
    two_tasks t;
    t.refuse();
    t.switches(source::gate, 0, event::make(x86::exception::double_fault, 0));
    CHECK(t.stopped() == stop_kind::triple_fault);
}

TEST_CASE("INTn that a host injected is no event from outside") {
    two_tasks m;
    m.refuse();
    m.switches(source::gate, 0, event::make(event_type::software_interrupt, 0x80));
    CHECK(m.delivered() == events{event::make(x86::exception::general_protection, new_task)});
}

TEST_CASE("RF of the saved flags is what the exit says, and an interrupt shadow ends with the switch") {
    for (bool const resume : {false, true}) {
        two_tasks m;
        m.guest().set_rflags(x86::rflags::rf | x86::rflags::cf);
        m.guest().set_interrupt_shadow(true);
        m.run({script::exit{exits::task_switch{.selector = new_task,
                                               .reason = source::gate,
                                               .has_error_code = false,
                                               .error_code = 0,
                                               .resume_flag = resume},
                            0, event::make(x86::exception::debug)}});
        CHECK(m.peek<std::uint32_t>(old_tss + 0x24) == (resume ? 0x1'0003 : 3));
        CHECK_FALSE(m.guest().interrupt_shadow());
    }
}

TEST_CASE("the T flag of a task is a #DB that DR6 explains") {
    two_tasks m;
    m.poke(new_tss + 0x64, {1});
    m.switches(source::jmp);
    CHECK(m.delivered() == events{event::make(x86::exception::debug)});
    CHECK((m.guest().debug_register(6) & 0x8000) != 0);
    CHECK(m.guest().rip() == 0x5000);
}

TEST_CASE("a task state segment outside memory ends the machine, by name") {
    two_tasks m;
    m.word(gdt_at + new_task, 0x4000'8900'0000'0067); // 0x40000000: nothing there
    m.switches(source::jmp);
    CHECK(m.stopped() == stop_kind::outside_memory);
    CHECK(m.machine->reason().code == new_task);
}
