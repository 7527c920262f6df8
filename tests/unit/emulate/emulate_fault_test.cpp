// SPDX-License-Identifier: BSD-2-Clause
// Faults of segmentation, alignment and paging: which one, and that nothing has changed.
#include "emulate/test_cpu.hpp"

#include <catch2/catch.hpp>

namespace {

using hv::code_size;
using hv::outcome_kind;
using hv::test::code_page;
using hv::test::cpu;
using hv::test::data_page;
using hv::test::device_page;
using hv::test::make_cpu;
using hv::test::run;
using hv::x86::exception;
using hv::x86::gpr;
using hv::x86::segment_name;
namespace page = hv::test::page;
namespace error = hv::x86::page_fault_error;

auto is_fault(hv::outcome const& o, exception vector, std::uint32_t code = 0) -> bool {
    auto const expected = hv::x86::has_error_code(vector) ? hv::event::make(vector, code) : hv::event::make(vector);
    return o.kind == outcome_kind::fault and o.exception == expected;
}

/// Runs code that must fault, and checks that registers and devices are as before.
auto faults(cpu& c, std::initializer_list<unsigned> code, exception vector, std::uint32_t error_code = 0) -> bool {
    auto const before = c.registers();
    c.log.clear();
    auto const o = run(c, code);
    CHECK(c.registers() == before);
    CHECK(c.log.empty());
    return is_fault(o, vector, error_code);
}

/// 64-bit code with two adjacent linear pages at `data_page` that are mapped as the test wants.
auto paged_cpu(std::uint64_t first, std::uint64_t second) -> cpu {
    auto c = make_cpu(code_size::bits_64);
    hv::test::enable_paging(c);
    hv::test::map(c, code_page, code_page, page::all);
    if (first != 0)
        hv::test::map(c, data_page, data_page, first);
    if (second != 0)
        hv::test::map(c, data_page + 0x1000, data_page + 0x1000, second);
    return c;
}

} // namespace

TEST_CASE("an offset beyond the limit is #GP, of the stack segment #SS") {
    auto c = make_cpu(code_size::bits_32);
    c[segment_name::ds] = {.base = data_page, .limit = 0xfff, .access = hv::test::access_rights::data, .selector = 8};
    c[segment_name::ss] = c[segment_name::ds];
    c[gpr::rbx] = 0xffc;
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
    c[gpr::rbx] = 0xffd;
    CHECK(faults(c, {0x8b, 0x03}, exception::general_protection));
    CHECK(faults(c, {0x36, 0x8b, 0x03}, exception::stack_fault));
    c[gpr::rbp] = 0xffd;
    CHECK(faults(c, {0x8b, 0x45, 0x00}, exception::stack_fault));
    CHECK(run(c, {0x3e, 0x8a, 0x45, 0x02}).kind == outcome_kind::done);
    c[gpr::rbx] = 0xffff'ffff; // the end wraps
    CHECK(faults(c, {0x8b, 0x03}, exception::general_protection));
}

TEST_CASE("an expand-down segment is what lies above its limit") {
    auto c = make_cpu(code_size::bits_32);
    c[segment_name::ds] = {.base = data_page - 0x1000, .limit = 0xfff, .access = 0x97, .selector = 8};
    c[gpr::rbx] = 0xfff;
    CHECK(faults(c, {0x8a, 0x03}, exception::general_protection));
    c[gpr::rbx] = 0x1000;
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
    c[gpr::rbx] = 0xfffd; // B clear: the upper bound is 0xffff
    CHECK(faults(c, {0x8b, 0x03}, exception::general_protection));
    c[segment_name::ds].access |= hv::x86::segment_access::default_big;
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
    c[segment_name::ds].limit = 0xffff'ffff; // nothing is left
    CHECK(faults(c, {0x8b, 0x03}, exception::general_protection));
}

TEST_CASE("segment types allow what they say, in protected mode only") {
    auto c = make_cpu(code_size::bits_32);
    c[gpr::rbx] = data_page;
    auto& ds = c[segment_name::ds];
    ds.access = 0x91; // read-only data
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
    CHECK(faults(c, {0x89, 0x03}, exception::general_protection));
    CHECK(faults(c, {0x01, 0x03}, exception::general_protection));
    ds.access = 0x99; // execute-only code
    CHECK(faults(c, {0x8b, 0x03}, exception::general_protection));
    ds.access = 0x9b; // readable code
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
    CHECK(faults(c, {0x89, 0x03}, exception::general_protection));
    CHECK(faults(c, {0x2e, 0x89, 0x03}, exception::general_protection));
    ds.access = hv::test::access_rights::data | hv::x86::segment_access::unusable;
    CHECK(faults(c, {0x8b, 0x03}, exception::general_protection));
    c.cr[0] = 0; // real-address mode
    CHECK(run(c, {0x89, 0x03}).kind == outcome_kind::done);
    CHECK(run(c, {0x2e, 0x89, 0x03}).kind == outcome_kind::done);
}

TEST_CASE("64-bit code ignores limits and types but needs canonical addresses") {
    auto c = make_cpu(code_size::bits_64);
    for (auto const name : {segment_name::ds, segment_name::es, segment_name::ss, segment_name::fs})
        c[name] = {.base = 0, .limit = 0, .access = hv::x86::segment_access::unusable, .selector = 0};
    c[gpr::rbx] = data_page;
    CHECK(run(c, {0x89, 0x03}).kind == outcome_kind::done);
    CHECK(run(c, {0x64, 0x89, 0x03}).kind == outcome_kind::done);
    c[gpr::rbx] = c[gpr::rsp] = 0x8000'0000'0000;
    CHECK(faults(c, {0x8b, 0x03}, exception::general_protection));
    CHECK(faults(c, {0x58}, exception::stack_fault));
    CHECK(faults(c, {0x8b, 0x04, 0x24}, exception::stack_fault));
    c[gpr::rbx] = 0x7fff'ffff'fffd; // the last byte is not canonical
    CHECK(faults(c, {0x8b, 0x03}, exception::general_protection));
    c[segment_name::gs].base = 0xffff'8000'0000'0000;
    c[gpr::rbx] = 0xffff'ffff'ffff'fff0;
    CHECK(faults(c, {0x65, 0x8b, 0x03}, exception::general_protection));
}

TEST_CASE("misaligned accesses are #AC where CPL, CR0.AM and RFLAGS.AC ask for it") {
    auto c = make_cpu(code_size::bits_64);
    c[gpr::rbx] = data_page + 1;
    c.cr[0] |= hv::x86::cr0::am;
    c.set_rflags(2 | hv::x86::rflags::ac);
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
    c.register_file::cpl = 3;
    CHECK(faults(c, {0x8b, 0x03}, exception::alignment_check));
    CHECK(faults(c, {0x48, 0x01, 0x03}, exception::alignment_check));
    CHECK(run(c, {0x8a, 0x03}).kind == outcome_kind::done);
    c.cr[0] &= ~hv::x86::cr0::am;
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
}

TEST_CASE("a page fault carries address and cause, and nothing has happened") {
    auto c = paged_cpu(page::present | page::user, 0);
    c[gpr::rbx] = data_page;
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
    CHECK(faults(c, {0x89, 0x03}, exception::page_fault, error::present | error::write));
    CHECK(faults(c, {0x01, 0x03}, exception::page_fault, error::present | error::write)); // read-modify-write
    CHECK(faults(c, {0x87, 0x03}, exception::page_fault, error::present | error::write));
    c[gpr::rax] = 0x55; // the comparison fails, and yet CMPXCHG writes
    CHECK(faults(c, {0x0f, 0xb1, 0x0b}, exception::page_fault, error::present | error::write));
    CHECK(run(c, {0x39, 0x03}).kind == outcome_kind::done);
    CHECK(run(c, {0x0f, 0xa3, 0x03}).kind == outcome_kind::done);
    c[gpr::rbx] = data_page + 0x1234;
    c.register_file::cpl = 3;
    auto const before = c.registers();
    auto const o = run(c, {0x8b, 0x03});
    CHECK(is_fault(o, exception::page_fault, error::user));
    CHECK(o.qualification == data_page + 0x1234);
    CHECK(c.registers() == before);
}

TEST_CASE("both pages of an access are checked before either is touched") {
    auto c = paged_cpu(page::all, page::present | page::user);
    c[gpr::rbx] = data_page + 0xffd;
    c[gpr::rax] = ~0ull;
    auto const o = run(c, {0x48, 0x89, 0x03});
    CHECK(is_fault(o, exception::page_fault, error::present | error::write));
    CHECK(o.qualification == data_page + 0x1000);
    CHECK(c.ram.get(data_page + 0xffd, 3) == 0);
    hv::test::map(c, data_page + 0x1000, data_page + 0x1000, page::all);
    CHECK(run(c, {0x48, 0x89, 0x03}).kind == outcome_kind::done);
    CHECK(c.ram.get(data_page + 0xffd, 8) == ~0ull);
}

TEST_CASE("adjacent linear pages need not be adjacent, nor both memory") { // CVE-2014-0049
    auto c = paged_cpu(page::all, 0);
    hv::test::map(c, data_page + 0x1000, device_page, page::all);
    c[gpr::rbx] = data_page + 0xffe;
    c[gpr::rax] = 0x8877665544332211;
    REQUIRE(run(c, {0x48, 0x89, 0x03}).kind == outcome_kind::done);
    CHECK(c.ram.get(data_page + 0xffe, 2) == 0x2211);
    CHECK(c.log ==
          std::vector<hv::test::device_access>{{'w', device_page, 4, 0x66554433}, {'w', device_page + 4, 2, 0x8877}});
}

TEST_CASE("a device is not read when the write that follows must fault") {
    auto c = paged_cpu(0, 0);
    hv::test::map(c, data_page, device_page, page::present);
    c[gpr::rbx] = c[gpr::rsi] = data_page;
    c[gpr::rdi] = c[gpr::rsp] = data_page + 0x1800;
    CHECK(faults(c, {0x09, 0x03}, exception::page_fault, error::present | error::write));
    CHECK(faults(c, {0xff, 0x33}, exception::page_fault, error::write)); // push [device] to a missing stack
    CHECK(faults(c, {0xa4}, exception::page_fault, error::write));       // movsb device to missing memory
    c[gpr::rdx] = 0x60;
    CHECK(faults(c, {0x6c}, exception::page_fault, error::write)); // insb
    c.register_file::cpl = 3;
    CHECK(faults(c, {0x8b, 0x03}, exception::page_fault, error::present | error::user));
}

TEST_CASE("dirty bits are set by what writes, accessed bits by what reads") {
    auto c = paged_cpu(page::all, page::all);
    auto const entry = [&](std::uint64_t linear) {
        auto table = c.cr[3];
        for (unsigned shift{39}; shift > 12; shift -= 9)
            table = c.ram.get(table + (linear >> shift & 511) * 8, 8) & 0xffff'ffff'f000;
        return c.ram.get(table + (linear >> 12 & 511) * 8, 8) >> 5 & 3;
    };
    c[gpr::rbx] = data_page;
    REQUIRE(run(c, {0x39, 0x03}).kind == outcome_kind::done);
    CHECK(entry(data_page) == 1);
    REQUIRE(run(c, {0x01, 0x03}).kind == outcome_kind::done);
    CHECK(entry(data_page) == 3);
    CHECK(entry(data_page + 0x1000) == 0);
}

TEST_CASE("page tables outside memory are unsupported, not a guest exception") {
    auto c = paged_cpu(page::all, 0);
    hv::test::map(c, 0x7000'0000'0000, 0, 0);
    c.ram.put(c.cr[3] + (0x7000'0000'0000 >> 39) * 8, 8, 0x4000'0000 | page::all);
    c[gpr::rbx] = 0x7000'0000'0000;
    auto const before = c.registers();
    CHECK(run(c, {0x8b, 0x03}).kind == outcome_kind::unsupported);
    CHECK(c.registers() == before);
}

TEST_CASE("an access across the end of the 32-bit linear address space goes on at zero") {
    auto c = make_cpu(code_size::bits_32);
    c.ram.add(hv::test::tables);
    c.cr[0] |= hv::x86::cr0::pg;
    c.cr[3] = hv::test::tables;
    c.cr[4] = hv::x86::cr4::pse;
    constexpr std::uint64_t large{1u << 7 | page::all};
    c.ram.put(hv::test::tables + 4 * 1, 4, large);                  // linear 4 MiB: physical 0
    c.ram.put(hv::test::tables + 4 * 1023, 4, 0xfec0'0000 | large); // the last 4 MiB
    c.set_rip(0x40'0000 + code_page);
    c.ram.fill(code_page, {0x8b, 0x03});
    c[segment_name::ds].base = 0x1000;
    c[gpr::rbx] = 0xffff'effe;
    auto const o = hv::step(c);
    CHECK(is_fault(o, exception::page_fault));
    CHECK(o.qualification == 0);
    c[gpr::rbx] = 0xffff'effc;
    CHECK(hv::step(c).kind == outcome_kind::done);
}
