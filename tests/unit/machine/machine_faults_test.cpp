// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;
using x86::gpr;
using events = std::vector<event>;

namespace {

constexpr std::uint64_t beyond{0x40000000}; ///< neither memory nor a device
auto const undefined = event::make(x86::exception::invalid_opcode);

struct lazy_pc : fake_pc {
    static constexpr fill memory_fill{fill::on_fault};
};

auto fault(std::uint64_t address, hv::access wanted, bool page_walk = false, event interrupts = {}) -> script::step {
    return script::exit{
        exits::nested_page_fault{
            .address = gpa{address}, .wanted = wanted, .page_walk = page_walk, .present = false, .instruction = {}},
        2, interrupts};
}

} // namespace

TEST_CASE("memory is zero at first, and is there without an exit") {
    whole_machine<> m;
    m.run({script::load{gpa{0x5000}}, script::store{gpa{0x5000}, 0x1234}, script::load{gpa{0x5000}},
           script::load{gpa{m.memory_size - 8}}});
    CHECK(m.guest().loaded == std::vector<std::uint64_t>{0, 0x1234, 0});
    CHECK(m.stats().total_exits() == 1); // the PAUSE
}

TEST_CASE("memory that is mapped on the first touch costs one exit a page and nothing else") {
    whole_machine<lazy_pc> m;
    m.run({script::load{gpa{0x5000}}, script::load{gpa{0x5008}}, script::store{gpa{0x5010}, 1},
           script::store{gpa{0x5ffc}, 0x1122334455667788}, script::fetch{gpa{0x7000}}});
    CHECK(m.stats().exits[exits::number_of<exits::nested_page_fault>] == 3);
    CHECK(m.stats().emulated_instructions == 0);
    CHECK(m.peek<std::uint64_t>(0x5ffc) == 0x1122334455667788);
    CHECK(m.stopped() == stop_kind::none);
}

TEST_CASE("a fault for which the host has no table stops the machine as out of memory") {
    whole_machine<lazy_pc> m;
    m.host.fail_after(0);
    m.run({script::load{gpa{0x5000}}});
    CHECK(m.stopped() == stop_kind::out_of_memory);
    CHECK(m.machine->reason().code == 0x5000);
    m.host.fail_after(hosted::serial_host::unlimited);
}

TEST_CASE("device memory is reached through the emulator: local APIC, I/O APIC, HPET") {
    whole_machine<> m;
    CHECK(m.read_mmio(0xfee00030) >> 16 == 6); // version register: seven LVT entries
    CHECK((m.read_mmio(0xfee00030) & 0xff) >= 0x10);
    m.write_mmio(0xfee00080, 0x60); // TPR
    CHECK(m.read_mmio(0xfee00080) == 0x60);
    CHECK(m.guest().task_priority() == 6);
    m.write_mmio(0xfec00000, 1);
    CHECK(m.read_mmio(0xfec00010) == 0x1f0011);
    CHECK(m.read_mmio(0xfed00004) == 59'604'644); // period in femtoseconds: 2^24 Hz
    CHECK(m.guest().rip() == code_at + 5);
    CHECK(m.stats().unclaimed_mmio == 0);
    CHECK(m.stats().emulated_instructions == 7);
}

TEST_CASE("memory of nobody reads as ones, takes every write, and is counted") {
    whole_machine<> m;
    CHECK(m.read_mmio(beyond) == 0xffffffff);
    m.write_mmio(beyond, 1);
    CHECK(m.stats().unclaimed_mmio == 2);
    m.place_code({0x8a, 0x03}); // MOV AL, [EBX]
    m.guest().set_gpr(gpr::rbx, beyond);
    m.guest().set_gpr(gpr::rax, 0x11223344);
    m.run({script::load{gpa{beyond}, 1}});
    CHECK(m.rax() == 0x112233ff);
    // A device's range does not end where an access does.
    m.place_code({0xdd, 0x03}); // FLD qword [EBX]: not an instruction for device memory
    m.run({script::load{gpa{beyond}, 8}});
    CHECK(m.stopped() == stop_kind::unsupported_instruction);
    CHECK(m.machine->reason().instruction.count >= 2);
    CHECK(m.machine->reason().instruction.bytes[0] == 0xdd);
}

TEST_CASE("device memory needs the guest's own page tables to allow the access") {
    whole_machine<> m;
    m.long_mode();
    m.poke(tables_at + 5 * page_size + 0x1fb * 8, {0, 0, 0, 0, 0, 0, 0, 0}); // 2 MiB with the local APIC and HPET
    m.poke(tables_at + 5 * page_size + 0x1f7 * 8, {0, 0, 0, 0, 0, 0, 0, 0});
    m.place_code({0x8b, 0x03}); // MOV EAX, [RBX]
    m.guest().set_gpr(gpr::rbx, 0xfee00030);
    m.run({fault(0xfee00030, hv::access::read)});
    CHECK(m.delivered() == events{event::make(x86::exception::page_fault, 0)});
    CHECK(m.guest().cr2() == 0xfee00030);
    CHECK(m.guest().rip() == code_at);
    m.place_code({0x89, 0x03});
    m.set_cpl(3);
    m.run({fault(0xfee00030, hv::access::write)});
    CHECK(m.delivered().front().vector() == static_cast<std::uint8_t>(x86::exception::page_fault));
}

TEST_CASE("code outside memory is #UD, in device memory too") {
    whole_machine<> m;
    for (auto const address : {beyond, std::uint64_t{0xfee00000}, std::uint64_t{1} << 46}) {
        m.run({script::fetch{gpa{address}}});
        CHECK(m.delivered() == events{undefined});
    }
    CHECK(m.stopped() == stop_kind::none);
}

TEST_CASE("a page table or an event delivery outside memory stops the guest and says where") {
    for (bool const walk : {true, false}) {
        whole_machine<> m;
        m.run({fault(beyond + 0x123, hv::access::write, walk, walk ? event{} : external(0x31))});
        CHECK(m.stopped() == stop_kind::outside_memory);
        CHECK(m.machine->reason().code == beyond + 0x123);
        CHECK_FALSE(std::string{m.machine->reason().text}.empty());
    }
}

TEST_CASE("an interrupted delivery whose page the host fills is made again") {
    whole_machine<lazy_pc> m;
    m.apic().set_virtual_wire();
    m.interrupts(true);
    m.machine->deliver({.destination = 0, .vector = 0x31}, nullptr);
    m.guest().delivery_will_exit(exits::nested_page_fault{
        .address = gpa{0x8000}, .wanted = hv::access::write, .page_walk = false, .present = false, .instruction = {}});
    m.run({script::store{gpa{0x8000}, 1}});
    CHECK(m.delivered() == events{external(0x31)});
    CHECK(m.stats().interrupted_deliveries == 1);
    CHECK(m.stats().exits[exits::number_of<exits::nested_page_fault>] == 1);
}

TEST_CASE("a write to read-only memory is dropped, a read is none of our business") {
    whole_machine<> m;
    constexpr gpa rom{0xfff00000};
    {
        exclusive_access held{*m.machine};
        REQUIRE(held.memory().allocate_segment(m.host, 1, page_size, false) == status::ok);
        REQUIRE(held.memory().map(m.host, rom, 1, 0, page_size, hv::access::read | hv::access::execute) == status::ok);
    }
    *m.machine->memory().at(rom, hv::access::read) = std::byte{0x5a};
    CHECK((m.read_mmio(rom.value) & 0xff) == 0x5a);
    m.write_mmio(rom.value, 0xffffffff);
    CHECK(m.peek<std::uint32_t>(rom.value) == 0x5a);
    CHECK(m.stats().unclaimed_mmio == 1);
    CHECK(m.guest().rip() == code_at + 5);
}

TEST_CASE("an emulated instruction is stepped over like any other when TF is set") {
    whole_machine<> m;
    m.place_code({0xa1, 0x30, 0x00, 0xe0, 0xfe}); // MOV EAX, [FEE00030h]
    m.guest().set_rflags(m.guest().rflags() | x86::rflags::tf | x86::rflags::rf);
    m.run({script::load{gpa{0xfee00030}, 4}});
    CHECK(m.delivered() == events{event::make(x86::exception::debug)});
    CHECK((m.guest().debug_register(6) & 1u << 14) != 0);
    CHECK((m.guest().rflags() & x86::rflags::rf) == 0);
    CHECK(m.guest().rip() == code_at + 5);
}
