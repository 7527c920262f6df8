// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/lapic_board.hpp>

#include <array>

using namespace hv;
using namespace hv::test;
namespace esr = x86::apic::esr;
namespace lvt = x86::apic::lvt;

TEST_CASE("errors are collected, shown by a write to ESR, and cleared by the next") {
    auto b = xapic();
    CHECK(b.accept(0x0f) == lapic_request::nothing);
    CHECK(b.get(reg::error_status) == 0);
    (void)b.apic.read_mmio(b.context, 0, 4);
    b.set(reg::error_status, 0xffffffff);
    CHECK(b.get(reg::error_status) == (esr::receive_illegal_vector | esr::illegal_register_address));
    b.set(reg::error_status, 0);
    CHECK(b.get(reg::error_status) == 0);
    b.apic.raise_error(esr::send_accept);
    CHECK(b.errors() == esr::send_accept);
}

TEST_CASE("the first error since the last write to ESR is signalled, later ones are not") {
    auto b = xapic();
    b.set(reg::lvt_error, 0xfe);
    CHECK(b.accept(0x01) == lapic_request::interrupt);
    b.take(0xfe);
    b.end();
    CHECK(b.accept(0x01) == lapic_request::nothing);
    (void)b.apic.read_mmio(b.context, 0, 4);
    CHECK(b.apic.pending_vector() == -1);
    CHECK(b.errors() == (esr::receive_illegal_vector | esr::illegal_register_address));
    (void)b.apic.read_mmio(b.context, 0, 4);
    CHECK(b.apic.pending_vector() == 0xfe);
    CHECK(b.apic.raise_error(0) == lapic_request::nothing);
}

TEST_CASE("XSA-462: an error entry with an illegal vector records one more error and signals nothing") {
    for (unsigned vector{}; vector < 16; ++vector) {
        auto b = xapic();
        b.set(reg::lvt_error, vector);
        (void)b.apic.read_mmio(b.context, 0, 4);
        CHECK(b.apic.pending_vector() == -1);
        CHECK(b.errors() == (esr::receive_illegal_vector | esr::illegal_register_address));
        b.command(0, 1u << 18 | vector); // to itself
        CHECK(b.errors() == (esr::receive_illegal_vector | esr::send_illegal_vector));
        CHECK(b.vectors(reg::interrupt_request).empty());
    }
}

TEST_CASE("local interrupts follow their entry's delivery mode and mask") {
    auto b = xapic();
    constexpr std::array sources{local_source::lint0, local_source::lint1, local_source::performance_counter,
                                 local_source::thermal_sensor, local_source::cmci};
    constexpr std::array entries{reg::lvt_lint0, reg::lvt_lint1, reg::lvt_performance_counter, reg::lvt_thermal_sensor,
                                 reg::lvt_cmci};
    for (unsigned i{}; i < sources.size(); ++i) {
        auto const lint = i < 2;
        auto const ask = [&](std::uint32_t entry) {
            b.set(entries[i], entry);
            return b.signal(sources[i]);
        };
        INFO("entry " << i);
        CHECK(ask(lvt::masked | 0x50) == lapic_request::nothing);
        CHECK(ask(0x50 + i) == lapic_request::interrupt);
        b.take(static_cast<int>(0x50 + i));
        b.end();
        CHECK(ask(0x105 << 8) == lapic_request::nothing);
        CHECK(ask(0x150) == lapic_request::nothing); // lowest priority is not for local interrupts
        CHECK(ask(0x200) == lapic_request::smi);
        CHECK(ask(0x350) == lapic_request::nothing); // reserved
        CHECK(ask(0x400) == lapic_request::nmi);
        CHECK(ask(0x500) == (lint ? lapic_request::init : lapic_request::nothing));
        CHECK(ask(0x600) == lapic_request::nothing);
        CHECK(ask(0x700) == (lint ? lapic_request::external : lapic_request::nothing));
        (void)b.errors();
        CHECK(ask(0x0f) == lapic_request::nothing);
        CHECK(b.errors() == esr::receive_illegal_vector);
    }
}

TEST_CASE("a performance-counter interrupt masks its entry") {
    auto b = xapic();
    b.set(reg::lvt_performance_counter, 0x400);
    CHECK(b.signal(local_source::performance_counter) == lapic_request::nmi);
    CHECK(b.get(reg::lvt_performance_counter) == (lvt::masked | 0x400));
    CHECK(b.signal(local_source::performance_counter) == lapic_request::nothing);
}

TEST_CASE("the 8259 reaches the processor through an unmasked ExtINT at LINT0, or while the APIC is off") {
    lapic_board b;
    CHECK_FALSE(b.apic.accepts_external());
    b.enable();
    b.set(reg::lvt_lint0, 0x700);
    CHECK(b.apic.accepts_external());
    b.set(reg::lvt_lint0, lvt::masked | 0x700);
    CHECK_FALSE(b.apic.accepts_external());
    b.set(reg::lvt_lint0, 0x400);
    CHECK_FALSE(b.apic.accepts_external());
    CHECK(b.set_base(0xfee00100));
    CHECK(b.apic.accepts_external());
    CHECK(b.signal(local_source::lint0) == lapic_request::external);
    CHECK(b.signal(local_source::lint1) == lapic_request::nmi);
    CHECK(b.signal(local_source::cmci) == lapic_request::nothing);
}

TEST_CASE("virtual wire mode is what firmware leaves") {
    lapic_board b;
    b.apic.set_virtual_wire();
    CHECK(b.apic.software_enabled());
    CHECK(b.apic.accepts_external());
    CHECK(b.signal(local_source::lint1) == lapic_request::nmi);
}
