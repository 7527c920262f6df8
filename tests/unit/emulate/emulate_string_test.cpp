// SPDX-License-Identifier: BSD-2-Clause
// String instructions: between memory and devices, repeated, interrupted by faults, and INS and OUTS exits.
#include "emulate/test_cpu.hpp"

#include <catch2/catch.hpp>

namespace {

using hv::code_size;
using hv::outcome_kind;
using hv::test::code_page;
using hv::test::cpu;
using hv::test::data_page;
using hv::test::device_access;
using hv::test::device_page;
using hv::test::make_cpu;
using hv::test::run;
using hv::x86::exception;
using hv::x86::gpr;
using hv::x86::segment_name;
namespace page = hv::test::page;
namespace flag = hv::x86::rflags;
using accesses = std::vector<device_access>;

constexpr std::uint64_t second_page{data_page + 0x1000};

auto paged_cpu() -> cpu {
    auto c = make_cpu(code_size::bits_64);
    hv::test::enable_paging(c);
    hv::test::map(c, code_page, code_page, page::all);
    hv::test::map(c, data_page, data_page, page::all);
    hv::test::map(c, device_page, device_page, page::all);
    return c;
}

} // namespace

TEST_CASE("MOVS copies between memory and devices in all four combinations") {
    for (unsigned combination{}; combination < 4; ++combination) {
        auto const from_device = (combination & 1) != 0;
        auto const to_device = (combination & 2) != 0;
        auto c = make_cpu(code_size::bits_64);
        c[gpr::rsi] = from_device ? device_page : data_page;
        c[gpr::rdi] = to_device ? device_page + 0x100 : data_page + 0x100;
        c[gpr::rcx] = 2;
        c.ram.put(data_page, 8, 0x0807060504030201);
        auto const from = c[gpr::rsi];
        auto const to = c[gpr::rdi];
        REQUIRE(run(c, {0xf3, 0xa5}).kind == outcome_kind::done);
        CHECK(c[gpr::rsi] == from + 8);
        CHECK(c[gpr::rdi] == to + 8);
        CHECK(c[gpr::rcx] == 0);
        std::uint64_t const values[]{from_device ? 0x55667788u : 0x04030201u, from_device ? 0x56677889u : 0x08070605u};
        accesses expected;
        for (unsigned n{}; n < 2; ++n) {
            if (from_device)
                expected.push_back({'r', from + 4 * n, 4, values[n]});
            if (to_device)
                expected.push_back({'w', to + 4 * n, 4, values[n]});
            else
                CHECK(c.ram.get(to + 4 * n, 4) == values[n]);
        }
        CHECK(c.log == expected);
    }
}

TEST_CASE("strings go down when DF is set, and elements may cross from memory into a device") {
    auto c = make_cpu(code_size::bits_64);
    c.ram.put(data_page, 8, 0x0807060504030201);
    c.set_rflags(2 | flag::df);
    c[gpr::rsi] = data_page + 4;
    c[gpr::rdi] = data_page + 0x2000 - 2; // half in memory, half in the device behind it
    c[gpr::rcx] = 2;
    REQUIRE(run(c, {0xf3, 0xa5}).kind == outcome_kind::done);
    CHECK(c.log == accesses{{'w', data_page + 0x2000, 2, 0x0807}});
    CHECK(c.ram.get(data_page + 0x1ffe, 2) == 0x0605);
    CHECK(c.ram.get(data_page + 0x1ffa, 4) == 0x04030201);
    CHECK(c[gpr::rsi] == data_page - 4);
    CHECK(c[gpr::rdi] == data_page + 0x1ff6);
}

TEST_CASE("STOS and LODS with every element size") {
    for (unsigned const size : {1u, 2u, 4u, 8u}) {
        auto c = make_cpu(code_size::bits_64);
        c[gpr::rax] = 0x1122334455667788;
        c[gpr::rdi] = device_page;
        c[gpr::rcx] = 3;
        auto const prefix = size == 2 ? 0x66u : size == 8 ? 0x48u : 0x3eu;
        REQUIRE(run(c, {0xf3, prefix, size == 1 ? 0xaau : 0xabu}).kind == outcome_kind::done);
        REQUIRE(c.log.size() == 3);
        CHECK(c.log[2] ==
              device_access{'w', device_page + 2 * size, size, hv::arithmetic::truncate(0x1122334455667788, size)});
        c[gpr::rsi] = device_page;
        REQUIRE(run(c, {prefix, size == 1 ? 0xacu : 0xadu}).kind == outcome_kind::done);
        CHECK(c[gpr::rsi] == device_page + size);
    }
}

TEST_CASE("a count of zero does nothing but advance RIP") {
    for (unsigned const opcode : {0xa4u, 0xa6u, 0xaau, 0xacu, 0xaeu, 0x6cu, 0x6eu}) {
        auto c = make_cpu(code_size::bits_64);
        c[gpr::rsi] = c[gpr::rdi] = 0x8000'0000'0000; // would be #GP
        auto before = c.registers();
        REQUIRE(run(c, {0xf3, opcode}).kind == outcome_kind::done);
        before.rip += 2;
        CHECK(c.registers() == before);
    }
}

TEST_CASE("index and count registers have the address size") {
    auto c = make_cpu(code_size::bits_32);
    c[segment_name::es].base = data_page;
    c[gpr::rdi] = 0xabcd'ffff;
    c[gpr::rcx] = 0x1234'0002;
    c[segment_name::es].base -= 0xffff;
    REQUIRE(run(c, {0x67, 0xf3, 0xaa}).kind == outcome_kind::done);
    CHECK(c[gpr::rdi] == 0xabcd'0001); // wrapped at 16 bits
    CHECK(c[gpr::rcx] == 0x1234'0000);
    auto d = make_cpu(code_size::bits_64);
    d[gpr::rdi] = 0xffff'ffff'0002'0000;
    d[gpr::rcx] = 0xffff'ffff'0000'0002;
    REQUIRE(run(d, {0x67, 0xf3, 0xaa}).kind == outcome_kind::done);
    CHECK(d[gpr::rdi] == data_page + 2);
    CHECK(d[gpr::rcx] == 0);
}

TEST_CASE("the source takes an override, the destination is ES") {
    auto c = make_cpu(code_size::bits_32);
    c[segment_name::fs].base = data_page;
    c[segment_name::es].base = data_page + 0x100;
    c.ram.put(data_page, 1, 0x5a);
    REQUIRE(run(c, {0x64, 0xa4}).kind == outcome_kind::done);
    CHECK(c.ram.get(data_page + 0x100, 1) == 0x5a);
}

TEST_CASE("REPE and REPNE stop at the first difference and the first match") {
    auto c = make_cpu(code_size::bits_64);
    c.ram.fill(data_page, {1, 2, 3, 4, 5});
    c.ram.fill(data_page + 0x100, {1, 2, 9, 4, 5});
    c[gpr::rsi] = data_page;
    c[gpr::rdi] = data_page + 0x100;
    c[gpr::rcx] = 5;
    REQUIRE(run(c, {0xf3, 0xa6}).kind == outcome_kind::done);
    CHECK(c[gpr::rcx] == 2);
    CHECK((c.rflags() & flag::zf) == 0);
    CHECK((c.rflags() & flag::cf) != 0); // 3 - 9
    c[gpr::rdi] = data_page;
    c[gpr::rax] = 4;
    c[gpr::rcx] = 5;
    REQUIRE(run(c, {0xf2, 0xae}).kind == outcome_kind::done);
    CHECK(c[gpr::rcx] == 1);
    CHECK((c.rflags() & flag::zf) != 0);
}

TEST_CASE("a page fault in the middle of REP leaves exactly the elements that are done") {
    struct row {
        std::initializer_list<unsigned> code;
        bool reads;
        bool writes;
    };
    for (auto const& row :
         {row{{0xf3, 0xa4}, true, true}, row{{0xf3, 0xaa}, false, true}, row{{0xf3, 0x6c}, false, true},
          row{{0xf3, 0x6e}, true, false}, row{{0xf3, 0xac}, true, false}}) {
        auto c = paged_cpu();
        c[gpr::rdx] = 0x60;
        // Three bytes to the end of the mapped page: of the destination, or of a source that goes to a device.
        c[gpr::rsi] = row.writes ? device_page : second_page - 3;
        c[gpr::rdi] = second_page - 3;
        c[gpr::rcx] = 10;
        auto const before = c.registers();
        auto const o = run(c, row.code);
        REQUIRE(o.kind == outcome_kind::fault);
        CHECK(o.exception.vector() == static_cast<unsigned>(exception::page_fault));
        CHECK(o.qualification == second_page);
        CHECK(c.rip() == before.rip);
        CHECK(c[gpr::rcx] == 7);
        CHECK(c[gpr::rsi] == before.gpr[6] + (row.reads ? 3 : 0));
        CHECK(c[gpr::rdi] == before.gpr[7] + (row.writes ? 3 : 0));
        auto const devices = c.log.size();
        // With the page there, the same instruction does the rest, and no device is asked twice.
        hv::test::map(c, second_page, second_page, page::all);
        REQUIRE(hv::step(c).kind == outcome_kind::done);
        CHECK(c[gpr::rcx] == 0);
        if (devices != 0)
            CHECK(c.log.size() == 10);
    }
}

TEST_CASE("a page fault in the middle of REPE CMPS leaves the flags of before") {
    auto c = paged_cpu();
    c[gpr::rsi] = second_page - 2;
    c[gpr::rdi] = second_page - 102;
    c[gpr::rcx] = 10;
    c.set_rflags(2 | flag::cf | flag::sf);
    auto const o = run(c, {0xf3, 0xa6});
    CHECK(o.kind == outcome_kind::fault);
    CHECK(c[gpr::rcx] == 8);
    CHECK(c.rflags() == (2 | flag::cf | flag::sf));
}

TEST_CASE("an unfinished REPE CMPS has the flags of its last element") {
    auto c = make_cpu(code_size::bits_64);
    c[gpr::rsi] = data_page;
    c[gpr::rdi] = data_page + 1;
    c[gpr::rcx] = 1025;
    c.set_rflags(2 | flag::cf);
    CHECK(run(c, {0xf3, 0xa6}).kind == outcome_kind::again);
    CHECK(c.rflags() == (2 | flag::zf | flag::pf | flag::rf));
}

TEST_CASE("MOVS from memory to a device stops at a source fault before it writes") {
    auto c = paged_cpu();
    c[gpr::rsi] = second_page - 2;
    c[gpr::rdi] = device_page;
    c[gpr::rcx] = 4;
    auto const o = run(c, {0xf3, 0xa4});
    CHECK(o.kind == outcome_kind::fault);
    CHECK(o.qualification == second_page);
    CHECK(c[gpr::rcx] == 2);
    CHECK(c.log.size() == 2);
}

TEST_CASE("a long REP comes back for interrupts and goes on where it was") {
    auto c = make_cpu(code_size::bits_64);
    c[gpr::rdi] = device_page;
    c[gpr::rcx] = 2500;
    CHECK(run(c, {0xf3, 0xaa}).kind == outcome_kind::again);
    CHECK(c.rip() == code_page);
    CHECK(c[gpr::rcx] == 2500 - 1024);
    CHECK(c[gpr::rdi] == device_page + 1024);
    CHECK((c.rflags() & flag::rf) != 0);
    CHECK(hv::step(c).kind == outcome_kind::again);
    CHECK(hv::step(c).kind == outcome_kind::done);
    CHECK(c[gpr::rcx] == 0);
    CHECK(c.log.size() == 2500);
    CHECK((c.rflags() & flag::rf) == 0);
    c[gpr::rcx] = 1024; // exactly one round
    c.set_rip(code_page);
    CHECK(hv::step(c).kind == outcome_kind::done);
}

TEST_CASE("single-stepping stops after each element") {
    auto c = make_cpu(code_size::bits_64);
    c.set_rflags(2 | flag::tf);
    c[gpr::rdi] = data_page;
    c[gpr::rcx] = 2;
    auto const first = run(c, {0xf3, 0xaa});
    CHECK(first.kind == outcome_kind::again);
    CHECK(first.single_step);
    CHECK(c[gpr::rcx] == 1);
    auto const last = hv::step(c);
    CHECK(last.kind == outcome_kind::done);
    CHECK(last.single_step);
}

TEST_CASE("INS and OUTS exits are served from what the exit tells, or from the instruction") {
    for (bool const told : {false, true})
        for (bool const in : {false, true})
            for (unsigned const size : {1u, 2u, 4u}) {
                auto c = make_cpu(code_size::bits_32);
                c[segment_name::gs].base = data_page;
                c[segment_name::es].base = data_page;
                c[segment_name::ds].base = device_page; // must not be used
                c[gpr::rcx] = 3;
                c[gpr::rdx] = 0x1f0;
                c.ram.put(data_page, 8, 0x0807060504030201);
                c.register_file::cpl = 3; // the processor has looked at the bitmap already
                auto const prefix = size == 2 ? 0x66u : 0x65u;
                c.ram.fill(code_page, {0x65, prefix, 0xf3, (in ? 0x6cu : 0x6eu) + (size == 1 ? 0 : 1)});
                hv::exits::io_port const io{.port = 0x1f0,
                                            .size = static_cast<std::uint8_t>(size),
                                            .in = in,
                                            .string = true,
                                            .rep = true,
                                            .address_size = static_cast<std::uint8_t>(told ? 4 : 0),
                                            .segment = segment_name::gs,
                                            .segment_known = told};
                auto const o = hv::string_io(c, io, told ? 4 : 0);
                REQUIRE(o.kind == outcome_kind::done);
                CHECK(o.length == 4);
                CHECK(c.rip() == code_page + 4);
                CHECK(c[gpr::rcx] == 0);
                REQUIRE(c.log.size() == 3);
                for (unsigned n{}; n < 3; ++n) {
                    CHECK(c.log[n].kind == (in ? 'i' : 'o'));
                    CHECK(c.log[n].address == 0x1f0);
                    CHECK(c.log[n].size == size);
                    if (in or 4 * n < 8)
                        CHECK(c.log[n].value == c.ram.get(data_page + n * size, size));
                }
                CHECK(c[in ? gpr::rdi : gpr::rsi] == 3 * size);
                CHECK(c[in ? gpr::rsi : gpr::rdi] == 0);
            }
}

TEST_CASE("a string exit whose instruction has changed meanwhile is retried") { // CVE-2018-10853, cross-modifying code
    hv::exits::io_port const io{.port = 0x1f0,
                                .size = 2,
                                .in = true,
                                .string = true,
                                .rep = true,
                                .address_size = 0,
                                .segment = segment_name::ds,
                                .segment_known = false};
    for (auto const& code :
         {std::initializer_list<unsigned>{0x90}, {0xf3, 0x66, 0x6f}, {0xf3, 0x6c}, {0x66, 0x6d}, {0x0f, 0x0b}}) {
        auto c = make_cpu(code_size::bits_32);
        c[gpr::rcx] = 1;
        c.ram.fill(code_page, code);
        auto const before = c.registers();
        CHECK(hv::string_io(c, io).kind == outcome_kind::again);
        CHECK(c.registers() == before);
        CHECK(c.log.empty());
    }
}

TEST_CASE("an exit that tells all but the instruction's length is decoded for it") {
    auto c = make_cpu(code_size::bits_32);
    c.ram.fill(code_page, {0x66, 0x6f});
    c[gpr::rsi] = data_page;
    hv::exits::io_port const io{.port = 0,
                                .size = 2,
                                .in = false,
                                .string = true,
                                .rep = false,
                                .address_size = 4,
                                .segment = segment_name::ds,
                                .segment_known = true};
    CHECK(hv::string_io(c, io).kind == outcome_kind::done);
    CHECK(c.rip() == code_page + 2);
}

TEST_CASE("INS into a device register writes it") {
    auto c = make_cpu(code_size::bits_64);
    c[gpr::rdi] = device_page;
    c[gpr::rdx] = 0x60;
    REQUIRE(run(c, {0x6c}).kind == outcome_kind::done);
    CHECK(c.log == accesses{{'i', 0x60, 1, 0x88}, {'w', device_page, 1, 0x88}});
}

TEST_CASE("an access that meets an enabled data breakpoint says so, and ends a string behind its element") {
    struct row {
        std::uint64_t control, address;
        std::uint8_t met;
        std::uint64_t left; ///< of four elements
    };
    constexpr std::uint64_t source{data_page}, target{device_page + 0x100};
    row const rows[]{
        {0x0000'0000, source, 0, 0},        // nothing enabled
        {0x000f'0000, source, 0, 0},        // a field, but not enabled
        {0x000f'0002, source, 1, 3},        // any access to four bytes, the first element
        {0x000f'0001, source + 0xc, 1, 0},  // the last one
        {0x000d'0002, source, 0, 0},        // writes only, and it is read
        {0x000d'0002, target + 4, 1, 2},    // writes only, and it is written
        {0x0003'0002, target + 7, 1, 2},    // one byte, the last of the second element
        {0x0003'0002, target + 0x10, 0, 0}, // the byte behind
        {0x0003'0002, target - 1, 0, 0},    // the byte before
        {0x000b'0002, target - 1, 0, 0},    // eight bytes at an aligned address below
        {0x000f'0002, target + 3, 1, 3},    // the low bits of the address do not count
        {0x0002'0002, source, 0, 0},        // of ports
        {0x0000'0002, source, 0, 0},        // of instructions
        {0xf000'0080, source + 8, 8, 1},    // the fourth register
    };
    for (auto const& r : rows) {
        CAPTURE(r.control, r.address);
        auto c = make_cpu(code_size::bits_64);
        c[gpr::rsi] = source;
        c[gpr::rdi] = target;
        c[gpr::rcx] = 4;
        c.dr[7] = r.control;
        c.dr[(r.control & 0x80) != 0 ? 3 : 0] = r.address;
        auto const done = run(c, {0xf3, 0xa5});
        CHECK(done.breakpoints == r.met);
        CHECK_FALSE(done.single_step);
        CHECK(c[gpr::rcx] == r.left);
        CHECK(done.kind == (r.left == 0 ? outcome_kind::done : outcome_kind::again));
    }
    auto c = paged_cpu();
    c[gpr::rsi] = source;
    c[gpr::rdi] = second_page + 0x1000; // absent: nothing was met
    c[gpr::rcx] = 1;
    c.dr[7] = 0x000f'0002;
    c.dr[0] = source;
    auto const fault = run(c, {0xf3, 0xa5});
    CHECK(fault.kind == outcome_kind::fault);
    CHECK(fault.breakpoints == 0);
}
