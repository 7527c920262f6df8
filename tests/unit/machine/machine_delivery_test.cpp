// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;
using x86::gpr;

namespace {

/// Notes what the guest had done when a window opened, and does on request what a colleague in a handler would do.
struct witness {
    auto on(exits::interrupt_window const&, auto& cpu) -> verdict {
        windows.push_back(cpu.gpr(gpr::rbx));
        return verdict::not_mine;
    }
    auto on(exits::cache_control const&, auto& cpu) -> verdict {
        cpu.raise(event::make(x86::exception::general_protection, 0x30));
        return verdict::resume;
    }
    std::vector<std::uint64_t> windows{};
};
struct witnessed_pc : fake_pc {
    using handlers = exit_chain<witness, leave_at_pause>;
};

/// A PC whose local APIC is on and whose guest takes interrupts.
struct interruptible : whole_machine<witnessed_pc> {
    interruptible() {
        apic().set_virtual_wire();
        interrupts(true);
    }
    void send(std::uint8_t vector) { machine->deliver({.destination = 0, .vector = vector}, nullptr); }
    [[nodiscard]] auto windows() -> auto& { return cpu().handlers().template get<witness>().windows; }
};

/// A device that sends the vector that is written to it, and ends the machine for 0.
struct bell {
    static constexpr char const* name{"bell"};
    static constexpr std::array ports{port_range{.first = 0x510, .count = 1}};
    void reset(auto&) {}
    [[nodiscard]] auto read_port(auto&, std::uint16_t, unsigned) -> std::uint32_t { return 0xff; }
    void write_port(auto& context, std::uint16_t, unsigned, std::uint32_t value) {
        if (value == 0)
            context.exit_machine(0);
        else
            context.deliver({.destination = 0, .vector = static_cast<std::uint8_t>(value)});
    }
};
struct bell_pc : fake_pc {
    using devices = device_set<lapic, bell>;
    static constexpr bool save_restore{false};
};

script::step const look{script::exit{exits::host_interrupt{}}};
script::step const any_exit{script::exit{exits::cpuid{}}};
auto const breaks = event::make(x86::exception::general_protection, 0x30);
auto const undefined = event::make(x86::exception::invalid_opcode);
using events = std::vector<event>;

} // namespace

TEST_CASE("a pending vector goes in at the next entry, and is in service then") {
    interruptible m;
    m.send(0x41);
    m.run({look});
    CHECK(m.delivered() == events{external(0x41)});
    CHECK(m.apic().pending_vector() == -1);
    CHECK_FALSE(m.guest().window_requested());
    m.send(0x40); // of the same class: waits for the EOI
    m.interrupts(true);
    m.run({look});
    CHECK(m.delivered().empty());
}

TEST_CASE("with interrupts off a window is requested exactly as long as something waits") {
    interruptible m;
    m.interrupts(false);
    m.run({look});
    CHECK_FALSE(m.guest().window_requested());
    m.send(0x41);
    m.run({look});
    CHECK(m.delivered().empty());
    CHECK(m.guest().window_requested());
    m.apic().set_task_priority(4); // nothing can go in any more
    m.run({look});
    CHECK_FALSE(m.guest().window_requested());
    m.apic().set_task_priority(0);
    m.run({script::set{gpr::rbx, 1}, script::sti{}, script::set{gpr::rbx, 2}, script::set{gpr::rbx, 3}});
    CHECK(m.delivered() == events{external(0x41)});
    CHECK(m.windows() == std::vector<std::uint64_t>{2}); // behind the one instruction in the shadow of STI
    CHECK_FALSE(m.guest().window_requested());
}

TEST_CASE("an interrupt in the shadow of STI waits for one instruction") {
    interruptible m;
    m.send(0x41);
    m.guest().set_interrupt_shadow(true);
    m.run({script::set{gpr::rbx, 1}, script::set{gpr::rbx, 2}});
    CHECK(m.delivered() == events{external(0x41)});
    CHECK(m.windows() == std::vector<std::uint64_t>{1});
}

TEST_CASE("an interrupt in the shadow of STI goes in behind an instruction that is served there, without a window") {
    interruptible m;
    m.send(0x41);
    m.guest().set_interrupt_shadow(true);
    m.run({any_exit, script::set{gpr::rbx, 1}});
    CHECK(m.delivered() == events{external(0x41)});
    CHECK(m.windows().empty());
}

TEST_CASE("of several waiting vectors the highest goes first, and the next as soon as it may") {
    interruptible m;
    m.send(0x41);
    m.send(0x81);
    m.send(0x61);
    m.run({look});
    CHECK(m.delivered() == events{external(0x81)});
    CHECK_FALSE(m.guest().window_requested()); // the others wait for its EOI, not for interrupts
    REQUIRE(m.wrmsr(x86::msr::ia32_apic_base, 0xfee00d00));
    m.run({script::exit{exits::msr_write{.index = 0x80b, .value = 0}}, script::iret{}, look});
    CHECK(m.delivered() == events{external(0x61)});
}

TEST_CASE("an NMI goes before an external interrupt, that before the local APIC's") {
    interruptible m;
    m.cpu().events().raise_nmi();
    m.cpu().events().raise_external(); // no 8259 is set up: its acknowledge cycle answers with the spurious vector
    m.send(0x90);
    m.run({look});
    CHECK(m.delivered() == events{nmi_event});
    CHECK(m.guest().window_requested()); // interrupts wait behind it
    m.run({script::iret{}, look});
    CHECK(m.delivered() == events{external(7)});
    CHECK(m.guest().window_requested());
    m.run({script::iret{}, script::set{gpr::rbx, 1}});
    CHECK(m.delivered() == events{external(0x90)});
}

TEST_CASE("an exception goes before an NMI, which follows as soon as the guest can be stopped") {
    interruptible m;
    m.cpu().raise(x86::exception::invalid_opcode);
    m.cpu().events().raise_nmi();
    m.send(0x50);
    m.run({script::set{gpr::rbx, 1}});
    CHECK(m.delivered() == events{undefined});
    REQUIRE(m.host.timer());
    CHECK(*m.host.timer() <= m.host.now() + 10'000); // the handler may keep interrupts off: no window would open
    m.run({look});
    CHECK(m.delivered() == events{nmi_event});
    CHECK(m.guest().window_requested());
}

TEST_CASE("what waits behind an exception opens a window") {
    interruptible m;
    m.cpu().raise(x86::exception::invalid_opcode);
    m.send(0x50);
    m.run({script::set{gpr::rbx, 1}, script::iret{}, script::set{gpr::rbx, 2}});
    CHECK(m.delivered() == events{undefined, external(0x50)});
}

TEST_CASE("a delivery slot that is taken stays so, and what waits comes right after") {
    interruptible m;
    m.guest().inject(external(0x99));
    m.cpu().raise(x86::exception::invalid_opcode);
    m.send(0x50);
    m.run({script::set{gpr::rbx, 1}});
    CHECK(m.delivered() == events{external(0x99)});
    CHECK(m.guest().window_requested());
    CHECK(m.host.timer().value_or(INT64_MAX) <= m.host.now() + 10'000);
    m.run({look});
    CHECK(m.delivered() == events{undefined});
}

TEST_CASE("an interrupted delivery is made again, once") {
    interruptible m;
    m.send(0x41);
    m.guest().delivery_will_exit(exits::host_interrupt{});
    m.run({look, look});
    CHECK(m.delivered() == events{external(0x41)});
    CHECK(m.stats().interrupted_deliveries == 1);
    CHECK(m.stats().events_injected == 2);
    m.cpu().events().raise_nmi();
    m.guest().delivery_will_exit(exits::host_interrupt{});
    m.run({look, look});
    CHECK(m.delivered() == events{nmi_event});
    CHECK(m.cpu().events().empty());
}

TEST_CASE("an interrupt whose delivery raised an exception comes when interrupts are on again") {
    interruptible m;
    m.send(0x41);
    m.guest().delivery_will_exit(
        exits::exception{.vector = x86::exception::alignment_check, .error_code = 0, .qualification = 0});
    m.run({any_exit, look});
    CHECK(m.delivered() == events{event::make(x86::exception::alignment_check, 0)}); // its handler runs with them off
    CHECK(m.guest().window_requested());
    m.send(0xf0); // waits behind the one that was acknowledged before
    m.run({any_exit});
    CHECK(m.delivered().empty());
    m.run({script::iret{}, look});
    CHECK(m.delivered() == events{external(0x41)});
}

TEST_CASE("an NMI whose delivery raised an exception comes right behind it") {
    interruptible m;
    m.cpu().events().raise_nmi();
    m.guest().delivery_will_exit(
        exits::exception{.vector = x86::exception::alignment_check, .error_code = 0, .qualification = 0});
    m.run({script::set{gpr::rbx, 1}});
    CHECK(m.delivered() == events{event::make(x86::exception::alignment_check, 0)});
    m.guest().set_interrupt_shadow(true);
    m.run({script::set{gpr::rbx, 1}, look});
    CHECK(m.delivered() == events{nmi_event});
    CHECK(m.guest().nmi_window_requests == 1); // not into the shadow
}

TEST_CASE("an exception that a service raises while an event was interrupted combines with it") {
    interruptible m;
    auto const code_nowhere = exits::nested_page_fault{.address = gpa{0xe000'0000},
                                                       .wanted = access::execute,
                                                       .page_walk = false,
                                                       .present = false,
                                                       .instruction = {}};
    m.run({script::exit{code_nowhere, 2, event::make(x86::exception::page_fault, 2)}, look});
    CHECK(m.delivered() == events{undefined}); // #UD is benign: the page fault comes again by itself
    m.run({script::exit{exits::cache_control{}, 2, event::make(x86::exception::general_protection, 0)}, look});
    CHECK(m.delivered() == events{event::make(x86::exception::double_fault, 0)});
    m.run({script::exit{exits::cache_control{}, 2, external(0x33)}, look, script::iret{}, look});
    CHECK(m.delivered() == events{breaks, external(0x33)});
}

TEST_CASE("a fault while a double fault is delivered shuts the machine down") {
    interruptible m;
    m.run({script::exit{exits::cache_control{}, 2, event::make(x86::exception::double_fault, 0)}, look});
    CHECK(m.delivered().empty());
    CHECK(m.stopped() == stop_kind::triple_fault);
}

TEST_CASE("an NMI waits for the end of the one before, and several make one") {
    interruptible m;
    m.cpu().events().raise_nmi();
    m.run({look});
    CHECK(m.delivered() == events{nmi_event});
    m.cpu().events().raise_nmi();
    m.cpu().events().raise_nmi();
    m.run({look, any_exit, look});
    CHECK(m.delivered().empty());
    CHECK(m.guest().nmi_blocked());
    m.run({script::iret{}, look, look, script::iret{}, look});
    CHECK(m.delivered() == events{nmi_event});
    CHECK(m.guest().nmi_window_requests == 1); // IRET itself is still to be executed
}

TEST_CASE("an NMI waits for the end of an interrupt shadow") {
    interruptible m;
    m.guest().set_interrupt_shadow(true);
    m.cpu().events().raise_nmi();
    m.run({look, script::set{gpr::rbx, 1}, look});
    CHECK(m.guest().nmi_window_requests == 2); // asked for at each entry as long as it lasts
    CHECK(m.delivered() == events{nmi_event});
}

TEST_CASE("vectors at or below the processor priority wait for the EOI") {
    interruptible m;
    REQUIRE(m.wrmsr(x86::msr::ia32_apic_base, 0xfee00d00));
    m.send(0x65);
    m.run({look});
    REQUIRE(m.delivered() == events{external(0x65)});
    for (auto const vector : {0x6f, 0x31})
        m.send(static_cast<std::uint8_t>(vector));
    m.interrupts(true);
    m.run({look});
    CHECK(m.delivered().empty());
    m.send(0x70);
    m.run({look});
    CHECK(m.delivered() == events{external(0x70)});
    script::step const end{script::exit{exits::msr_write{.index = 0x80b, .value = 0}}};
    m.run({end, script::iret{}, look});
    CHECK(m.delivered().empty()); // 65h is still in service
    m.run({end, look});
    CHECK(m.delivered() == events{external(0x6f)});
    m.run({end, script::iret{}, look});
    CHECK(m.delivered() == events{external(0x31)});
}

TEST_CASE("a task priority that the guest sets by CR8 holds vectors back, and its fall lets them in at once") {
    interruptible m;
    m.run({script::set{gpr::rcx, 7}, script::move_to_cr8{gpr::rcx}, look}); // without an exit
    CHECK(m.stats().exits[exits::number_of<exits::control_register>] == 0);
    CHECK(m.apic().task_priority() == 7);
    m.send(0x7f);
    m.run({look});
    CHECK(m.delivered().empty());
    CHECK(m.guest().watches_task_priority);
    m.run({script::set{gpr::rcx, 6}, script::move_to_cr8{gpr::rcx}, script::set{gpr::rbx, 1}});
    CHECK(m.delivered() == events{external(0x7f)});
    CHECK(m.apic().task_priority() == 6);
    CHECK_FALSE(m.guest().watches_task_priority);
    REQUIRE(m.wrmsr(x86::msr::ia32_apic_base, 0xfee00d00));
    REQUIRE(m.wrmsr(0x808, 0x35)); // TPR by the register: CR8 shows its upper half, the lower half stays
    CHECK(m.guest().task_priority() == 3);
    REQUIRE(m.rdmsr(0x808));
    CHECK(m.msr == 0x35);
}

TEST_CASE("a task priority that the guest set before an access to a port holds back what comes of the access") {
    whole_machine<bell_pc> m;
    m.apic().set_virtual_wire();
    m.interrupts(true);
    auto const ring = whole_machine<bell_pc>::io(0x510, 1, false);
    m.run({script::set{gpr::rcx, 7}, script::move_to_cr8{gpr::rcx}, script::set{gpr::rax, 0x7f}, ring,
           script::set{gpr::rax, 0x8f}, ring, script::iret{}, script::set{gpr::rbx, 1}});
    CHECK(m.delivered() == events{external(0x8f)});
    CHECK(m.apic().task_priority() == 7);
    CHECK(m.guest().task_priority() == 7);
}

TEST_CASE("a task priority that the guest writes to the local APIC stays, whatever exits there were before") {
    interruptible m;
    REQUIRE(m.wrmsr(x86::msr::ia32_apic_base, 0xfee00d00));
    m.run(
        {any_exit, script::exit{exits::msr_write{.index = 0x808, .value = 0x70}}, any_exit, script::set{gpr::rbx, 1}});
    CHECK(m.apic().task_priority() == 7);
    CHECK(m.guest().task_priority() == 7);
}

TEST_CASE("a guest that ends its machine at a port leaves its task priority in the local APIC") {
    whole_machine<bell_pc> m;
    m.run({script::set{gpr::rcx, 5}, script::move_to_cr8{gpr::rcx}, script::set{gpr::rax, 0},
           whole_machine<bell_pc>::io(0x510, 1, false)});
    CHECK(m.stopped() == stop_kind::exit_code);
    CHECK(m.apic().task_priority() == 5);
}

TEST_CASE("a waiting interrupt goes in behind an exit of the instruction that STI shadows, without a window") {
    interruptible m;
    m.interrupts(false);
    m.send(0x41);
    m.run({look, script::sti{}, any_exit, script::set{gpr::rbx, 2}});
    CHECK(m.delivered() == events{external(0x41)});
    CHECK(m.windows().empty());
}
