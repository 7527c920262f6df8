// SPDX-License-Identifier: BSD-2-Clause
// Fetching at CS:RIP and instruction lengths.
#include "emulate/test_cpu.hpp"

#include <catch2/catch.hpp>

namespace {

using hv::code_size;
using hv::instruction_length;
using hv::outcome_kind;
using hv::test::code_page;
using hv::test::make_cpu;
using hv::x86::exception;
using hv::x86::segment_name;
namespace page = hv::test::page;
namespace error = hv::x86::page_fault_error;

auto page_fault(std::uint32_t code) -> hv::event {
    return hv::event::make(exception::page_fault, code);
}
auto const general_protection = hv::event::make(exception::general_protection, 0);

} // namespace

TEST_CASE("lengths of the common exits come from the fast path and agree with the decoder") {
    for (unsigned first{}; first < 256; ++first)
        for (unsigned second{}; second < 256; ++second)
            for (unsigned const third : {0x00u, 0xa2u, 0xedu, 0x32u}) {
                std::array<std::uint8_t, 15> code{static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(second),
                                                  static_cast<std::uint8_t>(third)};
                auto const fast = hv::detail::common_length(code[0], code[1], code[2]);
                if (fast == 0)
                    continue;
                for (auto const mode : {code_size::bits_16, code_size::bits_32, code_size::bits_64}) {
                    auto const i = hv::decode(code, mode);
                    if (i.status != hv::decode_status::ok or i.length != fast)
                        FAIL(first << ' ' << second << ' ' << third);
                }
            }
    CHECK(hv::detail::common_length(0x0f, 0xa2, 0) == 2);
    CHECK(hv::detail::common_length(0xf4, 0, 0) == 1);
    CHECK(hv::detail::common_length(0x66, 0xe5, 0x70) == 3);
    CHECK(hv::detail::common_length(0x0f, 0x01, 0xd9) == 3);
    CHECK(hv::detail::common_length(0x0f, 0x01, 0xd8) == 0);
}

TEST_CASE("the length of an instruction is found wherever it ends") {
    auto c = make_cpu(code_size::bits_64);
    hv::test::enable_paging(c);
    hv::test::map(c, code_page, code_page, page::all);
    struct row {
        std::initializer_list<unsigned> code;
    };
    for (auto const& row : {row{{0xf4}}, row{{0x0f, 0xa2}}, row{{0xe4, 0x70}}, row{{0x0f, 0x01, 0xd9}},
                            row{{0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}}}) {
        auto const size = row.code.size();
        // The next page is not mapped: an instruction that ends right before it does not fault.
        c.set_rip(code_page + 0x1000 - size);
        c.ram.fill(c.rip(), row.code);
        auto const whole = instruction_length(c);
        CHECK(whole.length == size);
        CHECK_FALSE(whole.stop);
        if (size == 1)
            continue;
        // One byte later it does, at the first byte of that page.
        c.set_rip(c.rip() + 1);
        for (unsigned n{}; n + 1 < size; ++n)
            c.ram.fill(c.rip() + n, {*(row.code.begin() + n)});
        auto const cut = instruction_length(c);
        CHECK(cut.length == 0);
        CHECK(cut.stop.exception == page_fault(error::fetch));
        CHECK(cut.stop.qualification == code_page + 0x1000);
    }
}

TEST_CASE("an instruction is fetched across two pages that are not adjacent") {
    auto c = make_cpu(code_size::bits_64);
    hv::test::enable_paging(c);
    c.ram.add(0x50000);
    hv::test::map(c, code_page, code_page, page::present);
    hv::test::map(c, code_page + 0x1000, 0x50000, page::present);
    c.set_rip(code_page + 0xffe);
    c.ram.fill(code_page + 0xffe, {0x48, 0xb8});
    c.ram.fill(0x50000, {1, 2, 3, 4, 5, 6, 7, 8});
    REQUIRE(hv::step(c).kind == outcome_kind::done);
    CHECK(c[hv::x86::gpr::rax] == 0x0807060504030201);
    CHECK(c.rip() == code_page + 0x1008);
}

TEST_CASE("a fetch honours NX, U/S and the canonical form") {
    auto c = make_cpu(code_size::bits_64);
    hv::test::enable_paging(c);
    hv::test::map(c, code_page, code_page, page::all | page::no_execute);
    c.ram.fill(code_page, {0x0f, 0xa2});
    CHECK(instruction_length(c).stop.exception == page_fault(error::present | error::fetch));
    auto o = hv::step(c);
    CHECK(o.exception == page_fault(error::present | error::fetch));
    CHECK(o.qualification == code_page);
    hv::test::map(c, code_page, code_page, page::present);
    c.register_file::cpl = 3;
    CHECK(instruction_length(c).stop.exception == page_fault(error::present | error::fetch | error::user));
    c.set_rip(0x8000'0000'0000);
    CHECK(instruction_length(c).stop.exception == general_protection);
    CHECK(hv::step(c).exception == general_protection);
}

TEST_CASE("a fetch ends at the limit of the code segment") {
    auto c = make_cpu(code_size::bits_32);
    auto& cs = c[segment_name::cs];
    cs.base = code_page;
    cs.limit = 0x101;
    c.set_rip(0x100);
    c.ram.fill(code_page + 0x100, {0x0f, 0xa2});
    CHECK(instruction_length(c).length == 2);
    cs.limit = 0x100;
    CHECK(instruction_length(c).stop.exception == general_protection);
    cs.limit = 0xff;
    CHECK(instruction_length(c).stop.exception == general_protection);
    c.set_rip(0xffff'ffff);
    CHECK(instruction_length(c).stop.exception == general_protection);
}

TEST_CASE("the mode of code is that of its segment") {
    for (auto const mode : {code_size::bits_16, code_size::bits_32, code_size::bits_64}) {
        auto c = make_cpu(mode);
        c.ram.fill(code_page, {0xb8, 1, 2, 3, 4});
        CHECK(instruction_length(c).length == (mode == code_size::bits_16 ? 3 : 5));
        c.ram.fill(code_page, {0x48, 0x0f, 0xa2}); // DEC or REX
        CHECK(instruction_length(c).length == (mode == code_size::bits_64 ? 3 : 1));
    }
    auto c = make_cpu(code_size::bits_64); // compatibility mode
    c[segment_name::cs].access = hv::test::access_rights::code_32;
    c.ram.fill(code_page, {0x48});
    CHECK(instruction_length(c).length == 1);
}

TEST_CASE("what cannot be decoded has no length, and why") {
    auto c = make_cpu(code_size::bits_64);
    c.ram.fill(code_page, {0x0f, 0x0b});
    CHECK(instruction_length(c).stop.exception == hv::event::make(exception::invalid_opcode));
    for (unsigned n{}; n < 15; ++n)
        c.ram.fill(code_page + n, {0x66});
    CHECK(instruction_length(c).stop.exception == general_protection);
    CHECK(hv::step(c).exception == general_protection);
    c.ram.fill(code_page, {0x0f, 0x58, 0xc0}); // ADDPS
    CHECK(instruction_length(c).stop.kind == outcome_kind::unsupported);
    c.set_rip(hv::test::device_page); // code in a device
    CHECK(instruction_length(c).stop.kind == outcome_kind::unsupported);
    CHECK(hv::step(c).kind == outcome_kind::unsupported);
}
