// SPDX-License-Identifier: BSD-2-Clause
// The short cut for plain moves against the general decoder and the general emulator: what it takes, it takes as they
// do, and what it leaves has changed nothing.
#include "emulate/test_cpu.hpp"

#include <hv/emulate/plain_move.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

namespace {

using hv::access;
using hv::code_size;
using hv::gpa;
using hv::operand_kind;
using hv::operation;
using hv::plain_move;
using hv::test::code_page;
using hv::test::cpu;
using hv::test::data_page;
using hv::test::device_page;
using hv::x86::gpr;
using hv::x86::segment_name;
using bytes = std::array<std::uint8_t, hv::code_bytes::count>;

auto plain(bytes const& code) {
    return hv::decode_plain_move(hv::code_bytes::at(reinterpret_cast<std::byte const*>(code.data())));
}
auto general(bytes const& code) {
    return hv::decode(std::span{code}.first(hv::longest_instruction), code_size::bits_64);
}

auto same_memory(plain_move const& m, hv::memory_operand const& o) -> bool {
    auto const from_rip = m.base == plain_move::next_rip;
    return (from_rip ? plain_move::nothing : m.base) == o.base and from_rip == o.rip_relative and m.index == o.index and
           (m.index == plain_move::nothing or 1u << m.shift == o.scale) and m.displacement == o.displacement and
           o.segment != segment_name::fs and o.segment != segment_name::gs;
}

auto same(plain_move const& m, hv::decoded const& i) -> bool {
    if (i.status != hv::decode_status::ok or i.length != m.length or i.address_size != 8 or i.lock or
        (i.op != operation::mov and i.op != operation::movzx) or not same_memory(m, i.memory))
        return false;
    auto const& memory = m.is_store() ? i.destination : i.source;
    auto const& other = m.is_store() ? i.source : i.destination;
    if (memory.kind != operand_kind::memory or memory.size != m.bytes)
        return false;
    if (m.kind == plain_move::form::store_immediate)
        return other.kind == operand_kind::immediate and
               hv::arithmetic::truncate(i.immediate, m.bytes) ==
                   hv::arithmetic::truncate(static_cast<std::uint64_t>(std::int64_t{m.immediate}), m.bytes);
    return other.kind == operand_kind::gpr and other.number == m.reg and other.size == m.reg_bytes;
}

/// What the short cut is for, by the general decoder.
auto should_be_plain(hv::decoded const& i, bytes const& code) -> bool {
    if (i.status != hv::decode_status::ok or (i.op != operation::mov and i.op != operation::movzx))
        return false;
    auto const& memory = i.destination.kind == operand_kind::memory ? i.destination : i.source;
    auto const& other = i.destination.kind == operand_kind::memory ? i.source : i.destination;
    if (memory.kind != operand_kind::memory or other.kind == operand_kind::high_byte)
        return false;
    unsigned at{code[0] == 0x66 ? 1u : 0u};
    at += (code[at] & 0xf0) == 0x40 ? 1 : 0;
    constexpr std::array<std::uint8_t, 7> opcodes{0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0x0f};
    return std::ranges::find(opcodes, code[at]) != opcodes.end();
}

auto agree(bytes const& code) -> bool {
    auto const m = plain(code);
    auto const i = general(code);
    return m.kind == plain_move::form::none ? not should_be_plain(i, code) : same(m, i);
}

/// A processor that knows where its code is.
struct knowing_cpu : cpu {
    hv::plain_moves moves;

    auto recent_moves() -> hv::plain_moves& { return moves; }
    auto recent_code() -> std::byte const* { return ram.at(gpa{rip()}, access::execute); }
};
static_assert(hv::plain_move_cpu<knowing_cpu>);

/// Runs the instruction both ways. False: the short cut took it, and something differs.
struct comparison {
    knowing_cpu slow;
    knowing_cpu fast;
    hv::outcome result{};
    unsigned length{};

    explicit comparison(auto const& prepare) {
        prepare(slow);
        prepare(fast);
        result = hv::step(static_cast<cpu&>(slow));
        if (slow.log.empty())
            return; // no device, no exit
        auto const& first = slow.log.front();
        length = hv::execute_plain_move(fast, gpa{first.address}, first.kind == 'w' ? access::write : access::read);
        if (length != 0)
            fast.set_rip(fast.rip() + length);
    }
    [[nodiscard]] auto left() const -> bool { return length == 0; }
    [[nodiscard]] auto agrees() const -> bool {
        return left() ? fast.log.empty()
                      : result.kind == hv::outcome_kind::done and slow.log == fast.log and
                            (slow.rflags() & ~hv::x86::rflags::rf) == (fast.rflags() & ~hv::x86::rflags::rf) and
                            slow.rip() == fast.rip() and slow.register_file::gpr == fast.register_file::gpr;
    }
};

void base_cpu(knowing_cpu& c) {
    static_cast<cpu&>(c) = hv::test::make_cpu(code_size::bits_64);
}

} // namespace

TEST_CASE("a plain move is what the general decoder takes it for") {
    constexpr std::uint8_t prefixes[][3]{{0},    {0x66}, {0x40},       {0x41},       {0x44},       {0x48},
                                         {0x4f}, {0x42}, {0x66, 0x48}, {0x66, 0x45}, {0x48, 0x66}, {0x67},
                                         {0xf0}, {0xf3}, {0x65},       {0x2e},       {0x40, 0x48}};
    std::mt19937_64 random{7};
    unsigned taken{}, wrong{};
    for (auto const& prefix : prefixes)
        for (unsigned opcode{}; opcode != 512; ++opcode)
            for (unsigned modrm{}; modrm != 256; ++modrm)
                for (auto const sib : {0x00u, 0x24u, 0x25u, 0xa5u, 0xe4u, 0x6du}) {
                    bytes code{};
                    for (auto& byte : code)
                        byte = static_cast<std::uint8_t>(random());
                    unsigned at{};
                    for (auto const byte : prefix)
                        if (byte != 0)
                            code[at++] = byte;
                    if (opcode >= 256)
                        code[at++] = 0x0f;
                    code[at++] = static_cast<std::uint8_t>(opcode);
                    code[at++] = static_cast<std::uint8_t>(modrm);
                    code[at++] = static_cast<std::uint8_t>(sib);
                    taken += plain(code).kind != plain_move::form::none ? 1 : 0;
                    wrong += agree(code) ? 0 : 1;
                }
    CHECK(wrong == 0);
    CHECK(taken > 50'000);
}

TEST_CASE("random bytes mean the same to the short cut and to the general decoder") {
    std::mt19937_64 random{8};
    unsigned wrong{};
    for (unsigned n{}; n != 2'000'000; ++n) {
        bytes code{};
        for (auto& byte : code)
            byte = static_cast<std::uint8_t>(random());
        wrong += agree(code) ? 0 : 1;
    }
    CHECK(wrong == 0);
}

TEST_CASE("a plain move does to a device and to the registers what the emulator does") {
    std::mt19937_64 random{9};
    unsigned taken{}, wrong{};
    for (unsigned n{}; n != 200'000; ++n) {
        constexpr std::uint8_t opcodes[]{0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0xb6, 0xb7, 0x03, 0x87, 0xa5, 0xbe};
        bytes code{};
        for (auto& byte : code)
            byte = static_cast<std::uint8_t>(random());
        unsigned at{};
        if (random() % 4 == 0)
            code[at++] = 0x66;
        if (random() % 2 == 0)
            code[at++] = static_cast<std::uint8_t>(0x40 | random() % 16);
        auto const opcode = opcodes[random() % std::size(opcodes)];
        if ((opcode & 0xf6) == 0xb6)
            code[at++] = 0x0f;
        code[at++] = opcode;
        code[at] = static_cast<std::uint8_t>(random() % 2 == 0 ? random() % 0x80 : random());
        auto const seed = random();
        auto const prepare = [&](knowing_cpu& c) {
            base_cpu(c);
            std::mt19937_64 own{seed};
            for (auto& value : c.register_file::gpr)
                value = own() % 4 != 0 ? device_page + own() % 0x2000 : own();
            c.set_rflags(2 | (own() & 0x10cd5));
            for (unsigned i{}; i != code.size(); ++i)
                *c.ram.at(gpa{code_page + i}, access::write) = static_cast<std::byte>(code[i]);
        };
        comparison const both{prepare};
        taken += both.left() ? 0 : 1;
        wrong += both.agrees() ? 0 : 1;
    }
    CHECK(wrong == 0);
    CHECK(taken > 20'000);
}

TEST_CASE("the short cut leaves to the emulator what is not one access of this instruction") {
    knowing_cpu c;
    base_cpu(c);
    auto const load = {0x8bu, 0x07u}; // MOV EAX, [RDI]
    c.ram.fill(code_page, load);
    c[gpr::rdi] = device_page + 0x20;
    SECTION("an access of the other kind") {
        CHECK(execute_plain_move(c, gpa{device_page + 0x20}, access::write) == 0);
    }
    SECTION("an access elsewhere in its page") {
        CHECK(execute_plain_move(c, gpa{device_page + 0x24}, access::read) == 0);
    }
    SECTION("an access that goes over the end of a page, of which the second exited") {
        c[gpr::rdi] = device_page + 0xffe;
        CHECK(execute_plain_move(c, gpa{device_page + 0x1000}, access::read) == 0);
    }
    SECTION("an access that is not aligned") {
        c[gpr::rdi] = device_page + 0x22;
        CHECK(execute_plain_move(c, gpa{device_page + 0x22}, access::read) == 0);
    }
    SECTION("data breakpoints") {
        c.dr[7] = 1;
        CHECK(execute_plain_move(c, gpa{device_page + 0x20}, access::read) == 0);
    }
    SECTION("an instruction near the end of its page") {
        c.set_rip(code_page + 0xff1);
        c.ram.fill(c.rip(), load);
        CHECK(execute_plain_move(c, gpa{device_page + 0x20}, access::read) == 0);
    }
    CHECK(c.log.empty());
    c.dr[7] = 0;
    c.set_rip(code_page + 0xff0);
    c.ram.fill(c.rip(), load);
    c[gpr::rdi] = 0xffff'8000'0000'0020; // its page is another in the guest
    CHECK(execute_plain_move(c, gpa{device_page + 0x20}, access::read) == 2);
    CHECK(c.log == std::vector<hv::test::device_access>{{'r', device_page + 0x20, 4, 0x55667788}});
    CHECK(c.gpr(gpr::rax) == 0x55667788);
}
