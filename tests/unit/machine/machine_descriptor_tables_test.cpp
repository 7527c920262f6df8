// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <vector>

using namespace hv;
using namespace hv::test;
using x86::gpr;
using table = exits::descriptor_table::table;
using events = std::vector<event>;

namespace {

constexpr std::uint64_t operand_at{0x2000};

struct trapping_pc : fake_pc {
    static constexpr descriptor_table_policy descriptor_tables{descriptor_table_policy::exits};
};
/// Lets the guest move no table but LDTR.
struct guard {
    auto on(exits::descriptor_table const& exit, auto& cpu) -> verdict {
        seen.push_back(exit);
        if (not exit.write or exit.which == table::ldtr)
            return verdict::not_mine;
        cpu.raise_gp();
        return verdict::resume;
    }
    std::vector<exits::descriptor_table> seen{};
};
struct guarded_pc : trapping_pc {
    using handlers = exit_chain<guard, leave_at_pause>;
};

auto of(table which, bool write) -> script::step {
    return script::exit{exits::descriptor_table{.which = which, .write = write}, 0};
}

} // namespace

TEST_CASE("a machine says whether its descriptor-table instructions exit") {
    CHECK_FALSE(whole_machine<>{}.machine->hardware().controls.trap_descriptor_tables);
    CHECK(whole_machine<trapping_pc>{}.machine->hardware().controls.trap_descriptor_tables);
}

TEST_CASE("descriptor-table instructions that exit are carried out") {
    whole_machine<trapping_pc> m;
    m.place_code({0x0f, 0x01, 0x13}); // LGDT
    m.guest().set_gpr(gpr::rbx, operand_at);
    m.poke(operand_at, {0x34, 0x12, 0x78, 0x56, 0x34, 0x12});
    m.guest().set_interrupt_shadow(true);
    m.run({of(table::gdtr, true)});
    CHECK(m.guest().gdtr() == x86::descriptor_table{.base = 0x1234'5678, .limit = 0x1234});
    CHECK(m.guest().rip() == code_at + 3);
    CHECK_FALSE(m.guest().interrupt_shadow());
    m.guest().set_idtr({.base = 0xabcd'0000, .limit = 0x7ff});
    m.place_code({0x0f, 0x01, 0x0b}); // SIDT
    m.run({of(table::idtr, false)});
    CHECK(m.peek<std::uint16_t>(operand_at) == 0x7ff);
    CHECK(m.peek<std::uint32_t>(operand_at + 2) == 0xabcd'0000);
    m.place_code({0x0f, 0x01, 0x1b}); // LIDT
    m.run({of(table::idtr, true)});
    CHECK(m.guest().idtr().base == 0xabcd'0000);
    m.guest().set_gpr(gpr::rax, 0);
    m.place_code({0x0f, 0x00, 0xd8}); // LTR of null
    m.run({of(table::tr, true)});
    CHECK(m.took_gp());
    CHECK(m.guest().rip() == code_at);
    CHECK(m.stopped() == stop_kind::none);
    CHECK(m.stats().exits[exits::number_of<exits::descriptor_table>] == 4);
}

TEST_CASE("a handler watches and refuses, and the rest is carried out") {
    whole_machine<guarded_pc> m;
    m.place_code({0x0f, 0x01, 0x13});
    m.guest().set_gpr(gpr::rbx, operand_at);
    auto const gdt = m.guest().gdtr();
    m.run({of(table::gdtr, true)});
    CHECK(m.took_gp());
    CHECK(m.guest().gdtr() == gdt);
    CHECK(m.guest().rip() == code_at);
    m.guest().set_gpr(gpr::rax, 0);
    m.place_code({0x0f, 0x00, 0xd0}); // LLDT of null
    m.run({of(table::ldtr, true)});
    CHECK(m.delivered().empty());
    CHECK(m.guest().rip() == code_at + 3);
    auto const& seen = m.cpu().handlers().get<guard>().seen;
    REQUIRE(seen.size() == 2);
    CHECK((seen[0].which == table::gdtr and seen[0].write));
    CHECK((seen[1].which == table::ldtr and seen[1].write));
}
