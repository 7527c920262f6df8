// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <functional>

using namespace hv;
using namespace hv::test;
using events = std::vector<event>;

namespace {

script::step const halt{script::exit{exits::hlt{}, 1}};
script::step const look{script::exit{exits::host_interrupt{}}};

/// Lets a test do something while the guest halts.
struct busy_host : hosted::serial_host {
    using hosted::serial_host::serial_host;
    void idle() {
        if (while_idle)
            while_idle();
        hosted::serial_host::idle();
    }
    std::function<void()> while_idle{};
};

/// An NMI comes with each HLT.
struct nmi_at_halt {
    auto on(exits::hlt const&, auto& cpu) -> verdict {
        cpu.events().raise_nmi();
        return verdict::not_mine;
    }
};
struct nmi_at_halt_pc : fake_pc {
    using handlers = exit_chain<nmi_at_halt, leave_at_pause>;
};
struct patient_pc : fake_pc {
    static constexpr bool halt_detection{false};
};

struct halting : whole_machine<fake_pc, busy_host> {
    halting() {
        apic().set_virtual_wire();
        if (not wrmsr(x86::msr::ia32_apic_base, 0xfee00d00))
            throw std::runtime_error{"no x2APIC"};
    }
    /// One-shot, divided by 1: 2^27 Hz.
    void start_timer(std::uint32_t count, std::uint32_t entry = 0x51) {
        REQUIRE(wrmsr(0x832, entry));
        REQUIRE(wrmsr(0x83e, 0xb));
        REQUIRE(wrmsr(0x838, count));
    }
};

} // namespace

TEST_CASE("HLT sleeps until the timer fires, no less") {
    halting m;
    m.host.set_now(500);
    m.start_timer(1 << 17); // 2^-10 s
    m.interrupts(true);
    m.run({halt, look});
    CHECK(m.delivered() == events{external(0x51)});
    CHECK(m.host.now() == 500 + 976'563);
    CHECK(m.host.idles() == 1);
    CHECK(m.stopped() == stop_kind::none);
}

TEST_CASE("HLT does not sleep when an interrupt waits, also one that came in the shadow of STI") {
    halting m;
    m.machine->deliver({.destination = 0, .vector = 0x61}, nullptr);
    auto const rip = m.guest().rip();
    m.run({script::sti{}, halt, script::set{x86::gpr::rbx, 3}});
    CHECK(m.delivered() == events{external(0x61)});
    CHECK(m.host.idles() == 0);
    CHECK(m.gpr(x86::gpr::rbx) == 3);
    CHECK(m.guest().rip() == rip + 4 + 1 + 4); // taken behind HLT
}

TEST_CASE("HLT sleeps on through an interrupt that the guest cannot take") {
    halting m;
    REQUIRE(m.wrmsr(0x808, 0xf0)); // TPR
    m.machine->deliver({.destination = 0, .vector = 0x61}, nullptr);
    m.interrupts(true);
    m.host.while_idle = [&m] { m.machine->stop({.kind = stop_kind::requested}); };
    m.run({halt});
    CHECK(m.host.idles() == 1);
    CHECK(m.delivered().empty());
}

TEST_CASE("HLT with interrupts off ends the machine, even if timers run") {
    halting m;
    m.start_timer(1 << 17);
    m.interrupts(false);
    m.machine->deliver({.destination = 0, .vector = 0x61}, nullptr);
    m.run({halt, script::set{x86::gpr::rbx, 3}});
    CHECK(m.stopped() == stop_kind::halted);
    CHECK(m.gpr(x86::gpr::rbx) == 0);
    CHECK(m.host.idles() == 0);
}

TEST_CASE("HLT with interrupts off is ended by an NMI, but not inside an NMI handler") {
    whole_machine<nmi_at_halt_pc> m;
    m.interrupts(false);
    m.run({halt, script::set{x86::gpr::rbx, 3}});
    CHECK(m.delivered() == events{nmi_event});
    CHECK(m.gpr(x86::gpr::rbx) == 3);
    CHECK(m.stopped() == stop_kind::none);
    m.run({halt}); // the next is held back
    CHECK(m.delivered().empty());
    CHECK(m.stopped() == stop_kind::halted);
}

TEST_CASE("a machine without halt detection sleeps on with interrupts off until somebody stops it") {
    whole_machine<patient_pc, busy_host> m;
    m.interrupts(false);
    unsigned left{5};
    m.host.while_idle = [&] {
        if (--left == 0)
            m.machine->stop({.kind = stop_kind::requested});
    };
    m.run({halt});
    CHECK(m.stopped() == stop_kind::requested);
    CHECK(m.host.idles() == 5);
}

TEST_CASE("HLT goes back to sleep when it was woken for nothing, and console input wakes it") {
    halting m;
    for (auto const& [port, value] :
         {std::pair{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x3f9, 1}, {0x3fc, 8}})
        m.out(static_cast<std::uint16_t>(port), static_cast<std::uint64_t>(value));
    m.interrupts(true);
    m.host.while_idle = [&m] {
        if (m.host.idles() == 3)
            m.host.feed("x");
    };
    m.run({halt, look});
    CHECK(m.host.idles() == 4);
    CHECK(m.delivered() == events{external(0x24)});
}

TEST_CASE("HLT with interrupts off waits for a timer whose interrupt is an NMI") {
    constexpr std::uint64_t select{0xfec00000}, window{0xfec00010};
    auto const by_ioapic = [](halting& m) { // pin 2, where the 8254 arrives
        m.write_mmio(select, 0x14);
        m.write_mmio(window, 0x400);
    };
    auto const by_lint0 = [](halting& m) {
        REQUIRE(m.wrmsr(0x835, 0x400));
        m.out(0x20, 0x11); // the 8259: vectors from 20h, the 8254 alone
        m.out(0x21, 0x20);
        m.out(0x21, 4);
        m.out(0x21, 1);
        m.out(0x21, 0xfe);
    };
    auto const start = [](halting& m) {
        m.out(0x43, 0x30); // counter 0 once, 100 ticks
        m.out(0x40, 100);
        m.out(0x40, 0);
    };
    auto const halt_once = [](halting& m) {
        m.interrupts(false);
        m.run({halt, script::set{x86::gpr::rbx, 7}});
    };
    {
        halting m;
        by_ioapic(m);
        start(m);
        halt_once(m);
        CHECK(m.delivered() == events{nmi_event});
        CHECK(m.gpr(x86::gpr::rbx) == 7);
    }
    {
        halting m;
        by_lint0(m);
        start(m);
        halt_once(m);
        CHECK(m.delivered() == events{nmi_event});
    }
    {
        halting m; // masked again: nothing can wake it
        by_ioapic(m);
        m.write_mmio(select, 0x14);
        m.write_mmio(window, 0x10400);
        start(m);
        halt_once(m);
        CHECK(m.stopped() == stop_kind::halted);
    }
    {
        halting m; // the handler of an NMI takes no other
        by_ioapic(m);
        m.guest().set_nmi_blocked(true);
        start(m);
        halt_once(m);
        CHECK(m.stopped() == stop_kind::halted);
    }
    {
        halting m; // the HPET sends it itself
        m.write_mmio(0xfed00110, 0x400);
        m.write_mmio(0xfed00114, 0xfee00000);
        m.write_mmio(0xfed00108, 1000);
        m.write_mmio(0xfed00100, 0x4004);
        m.write_mmio(0xfed00010, 1);
        halt_once(m);
        CHECK(m.delivered() == events{nmi_event});
    }
}
