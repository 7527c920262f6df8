// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;
using x86::gpr;

namespace {

/// A device of every width that answers with a pattern and remembers the last write.
struct wide_device {
    static constexpr char const* name{"wide"};
    static constexpr std::array ports{port_range{.first = 0x510, .count = 4, .widest = 4}};
    void reset(auto&) {}
    [[nodiscard]] auto read_port(auto&, std::uint16_t, unsigned size) -> std::uint32_t {
        return size == 4 ? 0x8899aabb : size == 2 ? 0xffffaabb : 0xffffffbb; // junk above its size
    }
    void write_port(auto&, std::uint16_t port, unsigned size, std::uint32_t value) {
        last_port = port;
        last_size = size;
        last_value = value;
    }
    std::uint16_t last_port{};
    unsigned last_size{};
    std::uint32_t last_value{};
};

struct wide_machine : fake_pc {
    using devices = device_set<wide_device>;
    static constexpr bool save_restore{false};
};
using whole = whole_machine<wide_machine>;

} // namespace

TEST_CASE("IN of one and two bytes leaves the rest of RAX, IN of four bytes clears its upper half") {
    whole m;
    m.guest().set_gpr(gpr::rax, 0x1122334455667788);
    CHECK(m.in(0x510, 1) == 0x11223344556677bb);
    m.guest().set_gpr(gpr::rax, 0x1122334455667788);
    CHECK(m.in(0x510, 2) == 0x112233445566aabb);
    m.guest().set_gpr(gpr::rax, 0x1122334455667788);
    CHECK(m.in(0x510, 4) == 0x8899aabb);
    CHECK(m.stats().unclaimed_ports == 0);
}

TEST_CASE("OUT hands a device as many bytes of RAX as it has") {
    whole m;
    auto& device = m.device<wide_device>();
    m.out(0x511, 0x1122334455667788, 1);
    CHECK(device.last_port == 0x511);
    CHECK(device.last_value == 0x88);
    m.out(0x510, 0x1122334455667788, 2);
    CHECK(device.last_value == 0x7788);
    m.out(0x510, 0x1122334455667788, 4);
    CHECK(device.last_size == 4);
    CHECK(device.last_value == 0x55667788);
    CHECK(m.gpr(gpr::rax) == 0x1122334455667788);
}

TEST_CASE("ports of nobody read as ones, take every write, and are counted") {
    whole m;
    m.guest().set_gpr(gpr::rax, 0);
    CHECK(m.in(0x80, 1) == 0xff);
    m.guest().set_gpr(gpr::rax, 0);
    CHECK(m.in(0xfffe, 2) == 0xffff);
    CHECK(m.in(0xffff, 4) == 0xffffffff); // beyond the last port
    m.out(0x80, 1, 1);
    CHECK(m.stats().unclaimed_ports == 4);
    // An access that a device has a part of is the device's for that part.
    m.guest().set_gpr(gpr::rax, 0);
    CHECK(m.in(0x513, 2) == 0xffbb);
    CHECK(m.stats().unclaimed_ports == 4);
    CHECK(m.stopped() == stop_kind::none);
}

TEST_CASE("an I/O instruction is passed once and the guest goes on behind it") {
    whole m;
    auto const rip = m.guest().rip();
    m.run({whole::io(0x510, 1, true), script::set{gpr::rbx, 7}});
    CHECK(m.guest().rip() == rip + 2 + 4); // the exit, and one step that does not exit
    CHECK(m.gpr(gpr::rbx) == 7);
    CHECK(m.stats().exits[exits::number_of<exits::io_port>] == 1);
}

TEST_CASE("a string of OUTS goes to the port byte by byte, and INS fills memory") {
    whole_machine<> m;
    auto const string = [](bool in, std::uint16_t port) {
        return script::exit{exits::io_port{.port = port,
                                           .size = 1,
                                           .in = in,
                                           .string = true,
                                           .rep = true,
                                           .address_size = 0,
                                           .segment = x86::segment_name::ds,
                                           .segment_known = false}};
    };
    m.place_code({0xf3, 0x6e}); // REP OUTSB
    m.poke(0x2000, {'h', 'e', 'l', 'l', 'o'});
    m.guest().set_gpr(gpr::rsi, 0x2000);
    m.guest().set_gpr(gpr::rcx, 5);
    m.guest().set_gpr(gpr::rdx, 0xe9);
    m.run({string(false, 0xe9)});
    CHECK(m.host.output() == "hello");
    CHECK(m.gpr(gpr::rsi) == 0x2005);
    CHECK(m.gpr(gpr::rcx) == 0);
    CHECK(m.guest().rip() == code_at + 2);

    m.place_code({0xf3, 0x6c}); // REP INSB
    m.guest().set_gpr(gpr::rdi, 0x3000);
    m.guest().set_gpr(gpr::rcx, 3);
    m.run({string(true, 0xe9)});
    CHECK(m.peek<std::uint32_t>(0x3000) == 0xe9e9e9);
}

TEST_CASE("a string of I/O from memory that is not mapped faults with the elements before it done") {
    whole_machine<> m;
    m.long_mode();
    m.place_code({0xf3, 0x6e});
    constexpr std::uint64_t second_table{tables_at + 2 * page_size};
    m.poke(second_table + 8, {0, 0, 0, 0, 0, 0, 0, 0}); // nothing at 2 MiB
    m.poke(second_table, {0x83, 0, 0, 0, 0, 0, 0, 0});
    m.guest().set_gpr(gpr::rsi, 0x1ffffe); // memory of nobody below it reads as ones
    m.guest().set_gpr(gpr::rcx, 5);
    m.guest().set_gpr(gpr::rdx, 0xe9);
    m.run({script::exit{exits::io_port{.port = 0xe9,
                                       .size = 1,
                                       .in = false,
                                       .string = true,
                                       .rep = true,
                                       .address_size = 0,
                                       .segment = x86::segment_name::ds,
                                       .segment_known = false}}});
    CHECK(m.delivered() == std::vector{event::make(x86::exception::page_fault, 0)});
    CHECK(m.guest().cr2() == 0x200000);
    CHECK(m.gpr(gpr::rcx) == 3);
    CHECK(m.host.output() == "\xff\xff");
    CHECK(m.guest().rip() == code_at);
}

TEST_CASE("the exit port ends the machine with its code, and power-off and reset end it in order") {
    for (auto const& [port, value, kind] :
         {std::tuple{0xf4, 7, stop_kind::exit_code}, {0xcf9, 6, stop_kind::reset}, {0x64, 0xfe, stop_kind::reset}}) {
        whole_machine<> m;
        m.run({script::set{gpr::rax, static_cast<std::uint64_t>(value)},
               whole::io(static_cast<std::uint16_t>(port), 1, false), script::set{gpr::rbx, 99}});
        CHECK(m.stopped() == kind);
        CHECK(m.gpr(gpr::rbx) == 0); // it ended at once
        CHECK(is_orderly(m.stopped()));
        if (kind == stop_kind::exit_code)
            CHECK(m.machine->reason().code == 7);
    }
    whole_machine<> m;
    m.out(pm_timer::control_port, pm_timer::slp_typ_s5 << 10 | 1 << 13, 2);
    CHECK(m.stopped() == stop_kind::power_off);
}

TEST_CASE("the first reason of a stop stays") {
    whole_machine<> m;
    m.machine->stop({.kind = stop_kind::requested});
    m.machine->stop({.kind = stop_kind::triple_fault});
    CHECK(m.stopped() == stop_kind::requested);
    m.run({script::set{gpr::rbx, 99}}); // a stopped machine is not entered
    CHECK(m.stats().total_exits() == 0);
    CHECK(m.gpr(gpr::rbx) == 0);
}
