// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;

namespace {

script::step const look{script::exit{exits::host_interrupt{}}};
constexpr nanoseconds saved_at{123'456'789};

/// Everything a guest can find out about its devices, now and over the next 40 ms.
auto observe(whole_machine<>& m) -> std::vector<std::uint64_t> {
    std::vector<std::uint64_t> seen;
    auto const note = [&seen](std::uint64_t value) { seen.push_back(value); };
    auto const note_events = [&] {
        for (auto const e : m.delivered())
            note(e.raw);
    };
    auto const note_registers = [&] {
        for (auto const port : {0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x40,  0x42,  0x61,  0x64,
                                0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x600, 0x602, 0x604, 0x608})
            note(m.in(static_cast<std::uint16_t>(port)) & 0xff);
        for (unsigned index{0}; index != 0x80; ++index) {
            m.out(0x70, index);
            note(m.in(0x71) & 0xff);
        }
        for (std::uint32_t index{0x800}; index != 0x840; ++index)
            note(m.rdmsr(index) ? m.msr : ~0ull);
        note(m.rdmsr(x86::msr::ia32_apic_base) ? m.msr : ~0ull);
        for (std::uint32_t index{0}; index != 0x50; ++index) {
            m.write_mmio(0xfec00000, index);
            note(m.read_mmio(0xfec00010));
        }
        for (std::uint64_t offset{0}; offset != 0x200; offset += 4)
            note(m.read_mmio(0xfed00000 + offset));
    };
    m.run({look}); // arms the host's timer for the first time
    note(static_cast<std::uint64_t>(m.host.timer().value_or(-1)));
    note_events();
    note_registers();
    for (unsigned i{0}; i != 40; ++i) {
        m.host.advance(1'000'000);
        m.interrupts(true);
        m.guest().set_nmi_blocked(false);
        m.run({look});
        note(static_cast<std::uint64_t>(m.host.timer().value_or(-1)));
        note_events();
        for (unsigned port : {0x20u, 0xa0u})
            m.out(static_cast<std::uint16_t>(port), 0x20);
        m.out(0x70, 0x0c);
        note(m.in(0x71) & 0xff);
        note(m.in(0x3f8) & 0xff);
        (void)m.wrmsr(0x80b, 0);
    }
    note_registers();
    return seen;
}

/// A machine in whose devices nothing is as after reset.
void stir(whole_machine<>& m) {
    m.place_code({0x90});
    for (auto const& [port, value] : std::initializer_list<std::pair<int, int>>{
             {0x20, 0x11}, {0x21, 0x20},  {0x21, 0x04}, {0x21, 0x01},  {0xa0, 0x11},  {0xa1, 0x28}, {0xa1, 0x02},
             {0xa1, 0x01}, {0x21, 0xe2},  {0xa1, 0xfe}, {0x43, 0x34},  {0x40, 0x34},  {0x40, 0x12}, {0x61, 0x03},
             {0x43, 0xb6}, {0x42, 0x55},  {0x42, 0x01}, {0x70, 0x0b},  {0x71, 0x42},  {0x70, 0x50}, {0x71, 0x99},
             {0x3fb, 3},   {0x3fa, 0x41}, {0x3f9, 1},   {0x3fc, 0x0b}, {0x3ff, 0x77}, {0x64, 0x60}, {0x60, 0x47}})
        m.out(static_cast<std::uint16_t>(port), static_cast<std::uint64_t>(value));
    REQUIRE(m.wrmsr(x86::msr::ia32_apic_base, 0xfee00d00));
    m.apic().set_virtual_wire();
    for (auto const& [index, value] : std::initializer_list<std::pair<std::uint32_t, std::uint32_t>>{
             {0x80f, 0x1fe}, {0x832, 0x20031}, {0x83e, 0x3}, {0x838, 300'000}, {0x808, 0x10}, {0x837, 0x33}})
        REQUIRE(m.wrmsr(index, value));
    auto const pin = [&m](unsigned number, std::uint32_t entry) {
        m.write_mmio(0xfec00000, 0x10 + 2 * number);
        m.write_mmio(0xfec00010, entry);
    };
    pin(2, 0x42);
    pin(8, 0x8048);
    pin(24, 0x58);
    pin(9, 0x10049);
    m.write_mmio(0xfed00100, 0x4 | 0x8 | 0x40 | 24 << 9); // HPET: periodic on line 24
    m.write_mmio(0xfed00108, 100'000);
    m.write_mmio(0xfed00010, 1);
    m.out(0x602, 1, 2); // PM timer event
    m.host.feed("xyz");
    m.host.set_now(saved_at - 50'000'000);
    m.interrupts(true);
    m.run({look, look});
    m.machine->deliver({.destination = 0, .vector = 0x91}, nullptr);
    machine_context{*m.machine}.raise(irq_line{9});
    m.host.set_now(saved_at);
}

/// What a board keeps, device by device, moved to another machine's.
template <typename Board>
auto copy(Board& from, Board& to, auto& from_context, auto& to_context) -> unsigned {
    unsigned count{0};
    from.for_each([&]<typename Device>(Device& device) {
        if constexpr (saveable<Device>) {
            REQUIRE(to.template restore<Device>(to_context, device.save(from_context)) == status::ok);
            ++count;
        }
        if constexpr (extended<Device>) {
            REQUIRE(to.template restore_extension<Device>(to_context, device.save_extension(from_context)) ==
                    status::ok);
            ++count;
        }
    });
    return count;
}

void copy_devices(whole_machine<>& from, whole_machine<>& to) {
    machine_context source{*from.machine};
    restoring_context destination{*to.machine};
    CHECK(copy(from.machine->devices(), to.machine->devices(), source, destination) == 9);
    processor_context local_source{from.cpu()};
    processor_context local_destination{to.cpu()};
    CHECK(copy(from.cpu().local(), to.cpu().local(), local_source, local_destination) == 1);
}

} // namespace

TEST_CASE("devices that were saved and restored in a fresh machine behave as if nothing had happened") {
    whole_machine<> a;
    stir(a);
    whole_machine<> b;
    b.host.set_now(saved_at);
    b.place_code({0x90});
    b.run({look}); // it knows by now that it has no deadline
    copy_devices(a, b);
    auto const in_a = observe(a);
    auto const in_b = observe(b);
    REQUIRE(in_a.size() == in_b.size());
    for (std::size_t i{0}; i != in_a.size(); ++i) {
        INFO("observation " << i);
        CHECK(in_a[i] == in_b[i]);
    }
    CHECK(in_a.size() > 1000);
}

TEST_CASE("a timer that was restored arms the host's") {
    for (bool const local : {true, false}) {
        whole_machine<> a;
        if (local) {
            a.write_mmio(0xfee00380, 1'000'000);
        } else {
            a.out(0x43, 0x30);
            a.out(0x40, 0);
            a.out(0x40, 0x10);
        }
        auto const armed = a.host.timer();
        REQUIRE(armed);
        whole_machine<> b;
        b.run({look});
        REQUIRE_FALSE(b.host.timer());
        copy_devices(a, b);
        b.run({look});
        CHECK(b.host.timer() == armed);
    }
}

TEST_CASE("a machine whose devices were not restored behaves differently") {
    whole_machine<> a;
    stir(a);
    whole_machine<> b;
    b.host.set_now(saved_at);
    b.place_code({0x90});
    CHECK(observe(a) != observe(b));
}

TEST_CASE("restoring devices delivers nothing: the 8259's output is taken over as it is, without an edge") {
    whole_machine<> a;
    stir(a);
    a.write_mmio(0xfec00000, 0x10);
    a.write_mmio(0xfec00010, 0x700); // ExtINT at I/O APIC pin 0
    a.interrupts(false);
    a.out(0x20, 0x20);
    machine_context{*a.machine}.raise(irq_line{3});
    REQUIRE(a.machine->external_interrupt());
    a.cpu().events().clear();
    whole_machine<> b;
    b.host.set_now(saved_at);
    copy_devices(a, b);
    CHECK(b.machine->external_interrupt());
    CHECK(b.cpu().events().empty());
    b.out(0x21, 0xff);
    REQUIRE_FALSE(b.machine->external_interrupt());
    copy_devices(a, b); // again, into one that is not fresh
    CHECK(b.cpu().events().empty());
    CHECK(b.machine->external_interrupt());
}

TEST_CASE("a payload that cannot be is refused and changes nothing") {
    whole_machine<> m;
    stir(m);
    restoring_context context{*m.machine};
    auto& board = m.machine->devices();
    auto image = board.get<pic_8259>().save(context);
    auto const before = image;
    image.chip[0].lowprio = 8;
    CHECK(board.restore<pic_8259>(context, image) == status::invalid_argument);
    image = board.get<pic_8259>().save(context);
    CHECK(image.chip[0].lowprio == before.chip[0].lowprio);
    CHECK(image.chip[0].reg_imr == before.chip[0].reg_imr);
}
