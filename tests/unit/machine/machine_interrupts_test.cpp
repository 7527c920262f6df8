// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;
using events = std::vector<event>;
using apic_reg = x86::apic::reg;

namespace {

script::step const look{script::exit{exits::host_interrupt{}}};

template <typename Machine = fake_pc>
struct with_8259 : whole_machine<Machine> {
    using base = whole_machine<Machine>;

    /// Sets up the 8259 pair: vectors 20h-2Fh, nothing masked.
    with_8259() {
        for (auto const& [port, value] : {std::pair{0x20, 0x11},
                                          {0x21, 0x20},
                                          {0x21, 0x04},
                                          {0x21, 0x01},
                                          {0xa0, 0x11},
                                          {0xa1, 0x28},
                                          {0xa1, 0x02},
                                          {0xa1, 0x01},
                                          {0x21, 0x00},
                                          {0xa1, 0x00}})
            this->out(static_cast<std::uint16_t>(port), static_cast<std::uint64_t>(value));
        this->interrupts(true);
    }
    void raise(std::uint8_t line) { machine_context{*this->machine}.raise(irq_line{line}); }
    void lower(std::uint8_t line) { machine_context{*this->machine}.lower(irq_line{line}); }
    [[nodiscard]] auto looks() -> events {
        this->run({look});
        return this->delivered();
    }
    [[nodiscard]] auto looks_after_iret() -> events {
        this->run({script::iret{}, look});
        return this->delivered();
    }

    // The local APIC and the I/O APIC as a guest reaches them in 32-bit code.

    void write_apic(apic_reg number, std::uint32_t value) {
        this->write_mmio(0xfee00000 + 16 * static_cast<std::uint64_t>(number), value);
    }
    void write_pin(unsigned pin, std::uint64_t entry) {
        this->write_mmio(0xfec00000, 0x10 + 2 * pin);
        this->write_mmio(0xfec00010, static_cast<std::uint32_t>(entry));
        this->write_mmio(0xfec00000, 0x11 + 2 * pin);
        this->write_mmio(0xfec00010, static_cast<std::uint32_t>(entry >> 32));
    }
};

} // namespace

TEST_CASE("the 8259 reaches the processor through LINT0 in virtual wire mode, and not while LINT0 is masked") {
    with_8259 m;
    m.raise(5);
    CHECK(m.looks().empty()); // after RESET the APIC is on, software-disabled, LINT0 masked
    CHECK_FALSE(m.guest().window_requested());
    m.apic().set_virtual_wire();
    CHECK(m.looks() == events{external(0x25)});
    m.out(0x20, 0x20);
    m.lower(5);
    m.raise(10);
    CHECK(m.looks_after_iret() == events{external(0x2a)});
}

TEST_CASE("a guest that a loader starts finds the 8259 connected, as firmware would leave it") {
    with_8259 m;
    m.raise(5);
    m.cpu().start(guest::protected_mode_start(code_at, 0));
    m.interrupts(true);
    CHECK(m.looks() == events{external(0x25)});
}

TEST_CASE("the 8259 reaches the processor while the APIC is off") {
    with_8259 m;
    m.interrupts(false);
    m.raise(5);
    REQUIRE(m.wrmsr(x86::msr::ia32_apic_base, 0xfee00100));
    m.interrupts(true);
    CHECK(m.looks() == events{external(0x25)});
}

TEST_CASE("a machine without a local APIC takes the 8259's interrupts, and a window when they are off") {
    struct at_pc : default_machine {
        using backend = fake;
        using devices = device_set<pic_8259, pit_8254>;
        using handlers [[maybe_unused]] = exit_chain<leave_at_pause>;
    };
    with_8259<at_pc> m;
    m.interrupts(false);
    m.raise(3);
    CHECK(m.looks().empty());
    CHECK(m.guest().window_requested());
    m.run({script::sti{}, script::set{x86::gpr::rbx, 1}, script::set{x86::gpr::rbx, 2}});
    CHECK(m.delivered() == events{external(0x23)});
    CHECK_FALSE(m.guest().window_requested());
}

TEST_CASE("a request that the guest masks before it is taken closes the window") {
    with_8259 m;
    m.apic().set_virtual_wire();
    m.interrupts(false);
    m.raise(5);
    CHECK(m.looks().empty());
    CHECK(m.guest().window_requested());
    m.out(0x21, 0xff);
    CHECK(m.looks().empty());
    CHECK_FALSE(m.guest().window_requested());
}

TEST_CASE("line 0 reaches the 8259 as input 0 and the I/O APIC as pin 2") {
    with_8259 m;
    m.apic().set_virtual_wire();
    m.write_pin(2, 0x42);
    m.interrupts(true);
    m.raise(0);
    CHECK(m.looks() == events{external(0x20)}); // ExtINT first
    CHECK(m.looks_after_iret() == events{external(0x42)});
    m.lower(0);
    m.write_pin(0, 0x53);
    m.raise(0);
    m.out(0x20, 0x20);
    CHECK(m.apic().pending_vector() == 0x53); // pin 0 is the 8259's output, which rose anew
}

TEST_CASE("an I/O APIC pin in ExtINT mode fetches the vector from the 8259 once") {
    with_8259 m;
    m.write_apic(apic_reg::spurious_interrupt_vector, 0x1ff);
    m.write_pin(0, 0x700);
    m.interrupts(true);
    m.raise(6);
    CHECK(m.looks() == events{external(0x26)});
    CHECK(m.looks_after_iret().empty());
    // If the request is gone by then, the answer is the spurious vector, as of any 8259.
    m.out(0x20, 0x20);
    m.lower(6);
    m.interrupts(false);
    m.raise(6);
    m.out(0x21, 0x40);
    m.interrupts(true);
    CHECK(m.looks() == events{external(0x27)});
}

TEST_CASE("LINT0 delivers the 8259's edge as what its entry says: a vector, or an NMI") {
    with_8259 m;
    m.write_apic(apic_reg::spurious_interrupt_vector, 0x1ff);
    m.write_apic(apic_reg::lvt_lint0, 0x77);
    m.interrupts(true);
    m.raise(5);
    CHECK(m.looks() == events{external(0x77)});
    CHECK(m.looks_after_iret().empty()); // an edge, and no acknowledge cycle: the output stays up
    m.lower(5);
    m.write_apic(apic_reg::lvt_lint0, 0x400);
    m.out(0x20, 0x0c); // poll
    (void)m.in(0x20);
    m.out(0x20, 0x20);
    m.interrupts(false);
    m.raise(5);
    CHECK(m.looks() == events{nmi_event});
    m.guest().set_nmi_blocked(true);
    m.write_apic(apic_reg::lvt_lint0, 0x10400); // masked
    m.lower(5);
    m.out(0x20, 0x0c);
    (void)m.in(0x20);
    m.out(0x20, 0x20);
    m.raise(5);
    m.guest().set_nmi_blocked(false);
    CHECK(m.looks().empty());
}

TEST_CASE("a level-triggered pin asks again after the EOI as long as its line is up") {
    with_8259 m;
    m.write_apic(apic_reg::spurious_interrupt_vector, 0x1ff);
    m.write_pin(9, 0x8059);
    m.interrupts(true);
    m.raise(9);
    CHECK(m.looks() == events{external(0x59)});
    CHECK(m.looks_after_iret().empty());
    m.interrupts(false);
    m.write_apic(apic_reg::end_of_interrupt, 0);
    m.interrupts(true);
    CHECK(m.looks() == events{external(0x59)});
    m.lower(9);
    m.write_apic(apic_reg::end_of_interrupt, 0);
    CHECK(m.looks_after_iret().empty());
}

TEST_CASE("an NMI from the I/O APIC and an IPI to oneself are delivered") {
    with_8259 m;
    m.write_apic(apic_reg::spurious_interrupt_vector, 0x1ff);
    m.write_pin(7, 0x400);
    m.interrupts(false);
    m.raise(7);
    CHECK(m.looks() == events{nmi_event});
    m.write_apic(apic_reg::interrupt_command, 0x000400d0); // to self, vector D0h
    CHECK(m.looks_after_iret() == events{external(0xd0)});
    m.guest().set_nmi_blocked(true);
    m.write_apic(apic_reg::interrupt_command, 0x00080400); // NMI to all including self
    m.guest().set_nmi_blocked(false);
    CHECK(m.looks() == events{nmi_event});
}

TEST_CASE("a lowest-priority message to a software-disabled APIC is lost, not kept for later") {
    with_8259 m;
    m.machine->deliver({.destination = 0, .vector = 0x61, .mode = delivery_mode::lowest_priority}, nullptr);
    m.apic().set_virtual_wire();
    CHECK(m.looks().empty());
    m.machine->deliver({.destination = 0, .vector = 0x61, .mode = delivery_mode::lowest_priority}, nullptr);
    CHECK(m.looks() == events{external(0x61)});
}

namespace {
struct four_way_pc : fake_pc {
    static constexpr unsigned max_vcpus{4};
};
} // namespace

TEST_CASE("a message finds the processors it names, and a lowest-priority one the idlest that takes part") {
    whole_machine<four_way_pc> m;
    auto const pending = [&m] {
        std::vector<int> vectors;
        for (auto& cpu : m.machine->cpus())
            vectors.push_back(cpu.apic().pending_vector());
        return vectors;
    };
    using vectors = std::vector<int>;
    for (std::uint32_t id{1}; id != 4; ++id)
        m.machine->cpu(id).apic().set_virtual_wire(); // the first stays software-disabled
    m.machine->deliver({.destination = 2, .vector = 0x41}, nullptr);
    CHECK(pending() == vectors{-1, -1, 0x41, -1});
    m.machine->deliver({.destination = broadcast_destination, .vector = 0x51}, nullptr);
    CHECK(pending() == vectors{-1, 0x51, 0x51, 0x51});
    m.machine->deliver({.vector = 0x61, .shorthand = destination_shorthand::all_excluding_self}, &m.machine->cpu(3));
    CHECK(pending() == vectors{-1, 0x61, 0x61, 0x51});
    m.machine->cpu(1).apic().set_task_priority(9);
    m.machine->cpu(2).apic().set_task_priority(8);
    m.machine->cpu(3).apic().set_task_priority(7);
    m.machine->deliver({.destination = broadcast_destination, .vector = 0xf1, .mode = delivery_mode::lowest_priority},
                       nullptr);
    CHECK(pending() == vectors{-1, -1, -1, 0xf1});
    m.machine->deliver({.destination = 3, .mode = delivery_mode::nmi}, nullptr);
    CHECK(m.machine->cpu(3).events().nmi_pending());
    CHECK_FALSE(m.machine->cpu(1).events().nmi_pending());
    m.machine->deliver({.destination = 77, .vector = 0xf2}, nullptr); // nobody
    CHECK(pending() == vectors{-1, -1, -1, 0xf1});
}

TEST_CASE("each processor has its own APIC id in CPUID, registers and counters") {
    whole_machine<four_way_pc> m;
    for (std::uint32_t id{0}; id != 4; ++id) {
        auto& cpu = m.machine->cpu(id);
        auto& guest = cpu.hardware();
        cpu.set_activity(vcpu_activity::running);
        guest.run_script({script::set{x86::gpr::rax, 1}, script::exit{exits::cpuid{}}, script::exit{exits::pause{}}});
        cpu.run();
        CHECK(guest.gpr(x86::gpr::rbx) >> 24 == id);
        CHECK(cpu.stats().exits[exits::number_of<exits::cpuid>] == 1);
        CHECK(cpu.apic().bootstrap_processor() == (id == 0));
    }
}

TEST_CASE("a guest that polls gets console input as fast as it reads") {
    with_8259 m;
    m.host.feed("abc");
    CHECK(m.looks().empty());
    for (char const c : {'a', 'b', 'c'}) {
        CHECK((m.in(0x3fd) & 1) == 1);
        CHECK((m.in(0x3f8) & 0xff) == static_cast<std::uint64_t>(c));
    }
    CHECK((m.in(0x3fd) & 1) == 0);
}

TEST_CASE("console input raises the UART's interrupt and is kept until the guest has room") {
    with_8259 m;
    m.apic().set_virtual_wire();
    m.out(0x3f9, 1);    // received data available
    m.out(0x3fc, 0x0b); // OUT2
    m.interrupts(true);
    m.host.feed("abc");
    CHECK(m.looks() == events{external(0x24)}); // it came with this host interrupt
    CHECK((m.in(0x3f8) & 0xff) == 'a');         // no FIFO: one byte at a time
    (void)m.looks();
    CHECK((m.in(0x3f8) & 0xff) == 'b');
    (void)m.looks();
    CHECK((m.in(0x3f8) & 0xff) == 'c');
}
