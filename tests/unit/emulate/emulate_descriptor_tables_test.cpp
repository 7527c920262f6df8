// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "task_model.hpp"

#include <hv/emulate/descriptor_tables.hpp>

#include <cstdint>
#include <initializer_list>
#include <vector>

using namespace hv;
using namespace hv::test;
using x86::descriptor_table;
using x86::exception;
using x86::gpr;
using enum x86::segment_name;

namespace {

struct table_cpu : tasking_cpu {
    descriptor_table idt{};

    void set_gdtr(descriptor_table const& t) { gdt = t; }
    auto idtr() const -> descriptor_table { return idt; }
    void set_idtr(descriptor_table const& t) { idt = t; }
};
static_assert(descriptor_table_cpu<table_cpu>);

constexpr std::uint16_t wide_ldt{0x90}, wide_tss{0xa0}, wide_typed{0xb0}, wide_far{0xc0}, wide_end{0xd0};
constexpr std::uint64_t high{0xffff'8123'4560'0000}; ///< where 64-bit code has its GDT

void set_wide(table_cpu& c, std::uint16_t selector, std::uint64_t base, std::uint32_t access, std::uint64_t upper = 0) {
    set_descriptor(c, selector, make_descriptor(base & 0xffff'ffff, 0x67, access));
    set_descriptor(c, static_cast<std::uint16_t>(selector + 8), base >> 32 | upper);
}

/// A processor in this code, with recognisable table registers and the GDT of the task model.
auto make(code_size mode) -> table_cpu {
    table_cpu c;
    static_cast<tasking_cpu&>(c) = make_tasks();
    auto const fresh = make_cpu(mode);
    c[cs].access = fresh.segments[static_cast<unsigned>(cs)].access;
    c.register_file::efer = fresh.efer();
    c.idt = {.base = 0x1234'5678, .limit = 0x7ff};
    c.register_file::rip = code_page;
    c.set_rflags(2);
    c.dr[7] = 0x400;
    if (mode == code_size::bits_64) {
        enable_paging(c);
        for (auto const at : {code_page, data_page, data_page + 0x1000, old_tss_at})
            map(c, at, at, page::all);
        map(c, high, gdt_at, page::present | page::writable);
        c.gdt = {.base = high, .limit = wide_end - 1};
        c.idt.base = 0xffff'9000'0000'1000;
        set_wide(c, wide_ldt, 0xffff'8765'0000'0000, 0x82);
        set_wide(c, wide_tss, old_tss_at, 0x89);
        set_wide(c, wide_typed, 0, 0x82, 1ull << 40);
        set_wide(c, wide_far, 0x8000'0000'0000, 0x82);
    }
    c[gpr::rbx] = data_page + 0x100;
    for (unsigned i{0}; i < 16; ++i)
        c.ram.put(data_page + 0x100 + i, 1, 0x5a);
    return c;
}

auto run_table(table_cpu& c, std::initializer_list<unsigned> code) -> outcome {
    c.ram.fill(code_page, code);
    return descriptor_table_instruction(c);
}
void succeeds(table_cpu& c, std::initializer_list<unsigned> code) {
    c.register_file::rip = code_page;
    auto const r = run_table(c, code);
    CHECK(r.kind == outcome_kind::done);
    CHECK(c.rip() == code_page + code.size());
}
/// The instruction faults and changes neither registers nor the GDT.
void faults(table_cpu& c, std::initializer_list<unsigned> code, event wanted) {
    c.register_file::rip = code_page;
    auto const before = c.registers();
    auto const gdt = c.gdt, idt = c.idt;
    auto const tables = tables_of(c);
    auto const r = run_table(c, code);
    REQUIRE(r.kind == outcome_kind::fault);
    CHECK(r.exception == wanted);
    CHECK(c.registers() == before);
    CHECK(c.gdt == gdt);
    CHECK(c.idt == idt);
    CHECK(tables_of(c) == tables);
}
auto gp(std::uint16_t selector = 0) -> event {
    return event::make(exception::general_protection, selector);
}
auto const undefined = event::make(exception::invalid_opcode);

// Each with (%rbx), or BX where 16-bit addresses are.
using code = std::initializer_list<unsigned>;
code const sgdt{0x0f, 0x01, 0x03}, sidt{0x0f, 0x01, 0x0b}, lgdt{0x0f, 0x01, 0x13}, lidt{0x0f, 0x01, 0x1b},
    sldt{0x0f, 0x00, 0x03}, str{0x0f, 0x00, 0x0b}, lldt{0x0f, 0x00, 0x13}, ltr{0x0f, 0x00, 0x1b};
// Of the accumulator.
code const sldt_a{0x0f, 0x00, 0xc0}, str_a{0x0f, 0x00, 0xc8}, lldt_a{0x0f, 0x00, 0xd0}, ltr_a{0x0f, 0x00, 0xd8};

auto at(table_cpu& c, unsigned offset, unsigned size) -> std::uint64_t {
    return c.ram.get(data_page + 0x100 + offset, size);
}
void place(table_cpu& c, std::uint16_t limit, std::uint64_t base) {
    c.ram.put(data_page + 0x100, 2, limit);
    c.ram.put(data_page + 0x102, 8, base);
}
void to_ring_3(table_cpu& c) {
    c.register_file::cpl = 3;
}

} // namespace

TEST_CASE("SGDT and SIDT store six bytes, and ten in 64-bit code, whatever the operand size") {
    for (bool const prefixed : {false, true}) {
        auto c = make(code_size::bits_32);
        if (prefixed)
            succeeds(c, {0x66, 0x0f, 0x01, 0x0b});
        else
            succeeds(c, sidt);
        CHECK(at(c, 0, 2) == 0x7ff);
        CHECK(at(c, 2, 4) == 0x1234'5678);
        CHECK(at(c, 6, 1) == 0x5a);
        auto wide = make(code_size::bits_64);
        if (prefixed)
            succeeds(wide, {0x66, 0x0f, 0x01, 0x03});
        else
            succeeds(wide, sgdt);
        CHECK(at(wide, 0, 2) == wide_end - 1);
        CHECK(at(wide, 2, 8) == high);
        CHECK(at(wide, 10, 1) == 0x5a);
    }
}

TEST_CASE("LGDT and LIDT load 24, 32 or 64 bits of base") {
    auto c = make(code_size::bits_32);
    place(c, 0x1234, 0x5a5a'5a5a'8765'4321);
    succeeds(c, lgdt);
    CHECK(c.gdt == descriptor_table{.base = 0x8765'4321, .limit = 0x1234});
    succeeds(c, {0x66, 0x0f, 0x01, 0x1b});
    CHECK(c.idt == descriptor_table{.base = 0x65'4321, .limit = 0x1234});
    auto narrow = make(code_size::bits_16);
    place(narrow, 0x1234, 0x8765'4321);
    succeeds(narrow, {0x67, 0x0f, 0x01, 0x13});
    CHECK(narrow.gdt.base == 0x65'4321);
    succeeds(narrow, {0x66, 0x67, 0x0f, 0x01, 0x1b});
    CHECK(narrow.idt.base == 0x8765'4321);
    auto wide = make(code_size::bits_64);
    place(wide, 0x1234, 0xffff'8765'4321'0000);
    succeeds(wide, lidt);
    CHECK(wide.idt == descriptor_table{.base = 0xffff'8765'4321'0000, .limit = 0x1234});
    succeeds(wide, {0x66, 0x0f, 0x01, 0x13});
    CHECK(wide.gdt.base == 0xffff'8765'4321'0000);
    place(wide, 0x1234, 0x0000'8000'0000'0000);
    faults(wide, lgdt, gp());
    faults(wide, lidt, gp());
}

TEST_CASE("in real-address mode GDTR and IDTR move, and LDTR and TR do not exist") {
    auto c = make(code_size::bits_16);
    c.cr[0] = 0;
    place(c, 0x77, 0x12'3456);
    succeeds(c, {0x67, 0x0f, 0x01, 0x13});
    CHECK(c.gdt == descriptor_table{.base = 0x12'3456, .limit = 0x77});
    for (auto const& i : {sldt_a, str_a, lldt_a, ltr_a})
        faults(c, i, undefined);
}

TEST_CASE("in virtual-8086 mode GDTR and IDTR are stored only, and LDTR and TR do not exist") {
    auto c = make(code_size::bits_16);
    c.set_rflags(2 | x86::rflags::vm);
    to_ring_3(c);
    succeeds(c, {0x67, 0x0f, 0x01, 0x0b});
    CHECK(at(c, 0, 2) == 0x7ff);
    faults(c, {0x67, 0x0f, 0x01, 0x13}, gp());
    faults(c, {0x67, 0x0f, 0x01, 0x1b}, gp());
    for (auto const& i : {sldt_a, str_a, lldt_a, ltr_a})
        faults(c, i, undefined);
}

TEST_CASE("loads are the kernel's, and stores too with UMIP") {
    for (unsigned const cpl : {1u, 3u}) {
        auto c = make(code_size::bits_32);
        c.register_file::cpl = static_cast<std::uint8_t>(cpl);
        for (auto const& i : {lgdt, lidt, lldt, ltr, lldt_a, ltr_a})
            faults(c, i, gp());
        for (auto const& i : {sgdt, sidt, sldt, str, sldt_a, str_a})
            succeeds(c, i);
        c.cr[4] |= x86::cr4::umip;
        for (auto const& i : {sgdt, sidt, sldt, str, sldt_a, str_a})
            faults(c, i, gp());
        c.register_file::cpl = 0;
        for (auto const& i : {sgdt, sidt, sldt, str, sldt_a, str_a})
            succeeds(c, i);
    }
}

TEST_CASE("SLDT and STR fill a register as wide as the operand, and two bytes of memory") {
    auto c = make(code_size::bits_64);
    c[tr].selector = 0xa0;
    auto const after = [&c](code i) {
        c[gpr::rax] = ~0ull;
        succeeds(c, i);
        return c[gpr::rax];
    };
    CHECK(after({0x66, 0x0f, 0x00, 0xc8}) == 0xffff'ffff'ffff'00a0);
    CHECK(after(str_a) == 0xa0);
    CHECK(after({0x48, 0x0f, 0x00, 0xc8}) == 0xa0);
    c[ldtr].selector = 0x90;
    CHECK(after(sldt_a) == 0x90);
    succeeds(c, {0x48, 0x0f, 0x00, 0x03});
    CHECK(at(c, 0, 4) == 0x5a5a'0090);
}

TEST_CASE("LLDT takes a present LDT of the GDT, or null") {
    auto c = make(code_size::bits_32);
    c[gpr::rax] = 0xffff'0000 | sel::ldt | 3;
    succeeds(c, lldt_a);
    CHECK(c.segment(ldtr) == x86::segment{.base = ldt_at, .limit = 7, .access = 0x82, .selector = sel::ldt | 3});
    auto const refused = [&c](unsigned selector, event wanted) {
        c[gpr::rax] = selector;
        faults(c, lldt_a, wanted);
    };
    refused(sel::ldt | 4, gp(sel::ldt | 4));
    refused(4, gp(4));
    refused(sel::data | 3, gp(sel::data));
    refused(sel::new_task, gp(sel::new_task));
    refused(sel::call_gate, gp(sel::call_gate));
    refused(sel::beyond, gp(sel::beyond));
    refused(sel::absent_ldt, event::make(exception::segment_not_present, sel::absent_ldt));
    c.ram.put(data_page + 0x100, 2, 3);
    succeeds(c, lldt);
    CHECK(c.segment(ldtr) == x86::segment{.access = x86::segment_access::unusable, .selector = 3});
}

TEST_CASE("LTR takes a present and idle task of the GDT, and makes it busy") {
    for (auto const type : {x86::system_type::tss_32, x86::system_type::tss_16}) {
        auto c = make(code_size::bits_32);
        set_descriptor(c, sel::new_task, make_descriptor(new_tss_at, 0x67, 0x80 | type));
        c.ram.put(data_page + 0x100, 2, sel::new_task);
        succeeds(c, ltr);
        CHECK(c.segment(tr) ==
              x86::segment{.base = new_tss_at, .limit = 0x67, .access = 0x82 | type, .selector = sel::new_task});
        CHECK(access_of(c, sel::new_task) == (0x82 | type));
        CHECK(access_of(c, sel::old_task) == 0x8b); // nobody leaves it
    }
    auto c = make(code_size::bits_32);
    auto const refused = [&c](unsigned selector, event wanted) {
        c[gpr::rax] = selector;
        faults(c, ltr_a, wanted);
    };
    refused(0, gp());
    refused(3, gp());
    refused(sel::new_task | 4, gp(sel::new_task | 4));
    refused(sel::old_task, gp(sel::old_task)); // busy
    refused(sel::ldt, gp(sel::ldt));
    refused(sel::data, gp(sel::data));
    refused(sel::beyond, gp(sel::beyond));
    set_descriptor(c, sel::new_task, make_descriptor(new_tss_at, 0x67, 0x09));
    refused(sel::new_task, event::make(exception::segment_not_present, sel::new_task));
}

TEST_CASE("in IA-32e mode LLDT and LTR take descriptors of sixteen bytes") {
    auto c = make(code_size::bits_64);
    c[gpr::rax] = wide_ldt;
    succeeds(c, lldt_a);
    CHECK(c.segment(ldtr).base == 0xffff'8765'0000'0000);
    c[gpr::rax] = wide_tss;
    succeeds(c, ltr_a);
    CHECK(c.segment(tr) == x86::segment{.base = old_tss_at, .limit = 0x67, .access = 0x8b, .selector = wide_tss});
    CHECK(access_of(c, wide_tss) == 0x8b);
    auto const refused = [&c](unsigned selector, code i) {
        c[gpr::rax] = selector;
        faults(c, i, gp(static_cast<std::uint16_t>(selector)));
    };
    refused(wide_tss, ltr_a);
    refused(wide_typed, lldt_a);
    refused(wide_far, lldt_a);
    set_wide(c, wide_end - 8, 0, 0x82);
    refused(wide_end - 8, lldt_a); // half of it is in the table
    set_wide(c, wide_tss, old_tss_at, 0x81);
    refused(wide_tss, ltr_a); // no 16-bit tasks
    // Compatibility mode too.
    auto narrow = make(code_size::bits_64);
    narrow[cs].access = access_rights::code_32;
    narrow[gpr::rax] = wide_ldt;
    succeeds(narrow, lldt_a);
    CHECK(narrow.segment(ldtr).base == 0xffff'8765'0000'0000);
    // A table that ends where addresses do.
    c.gdt = {.base = 0x7fff'ffff'fff0, .limit = 0xffff};
    c[gpr::rax] = 0x10;
    faults(c, lldt_a, gp());
    c[gpr::rax] = 0xe8;
    faults(c, ltr_a, gp());
}

TEST_CASE("a page that is not there or not writable faults before anything changes") {
    auto c = make(code_size::bits_64);
    map(c, data_page + 0x1000, data_page + 0x1000, 0);
    c[gpr::rbx] = data_page + 0x1000 - 4;
    c.ram.put(data_page + 0xffc, 4, 0x5a5a'5a5a);
    faults(c, sgdt, event::make(exception::page_fault, 2));
    CHECK(c.ram.get(data_page + 0xffc, 4) == 0x5a5a'5a5a);
    faults(c, lidt, event::make(exception::page_fault, 0));
    map(c, high, gdt_at, page::present);
    c[gpr::rax] = wide_tss;
    faults(c, ltr_a, event::make(exception::page_fault, 3));
    c[gpr::rax] = wide_ldt;
    succeeds(c, lldt_a);
    map(c, high, gdt_at, page::all);
    c.cr[4] |= x86::cr4::smap;
    c.set_rflags(2 | x86::rflags::ac);
    faults(c, lldt_a, event::make(exception::page_fault, 1)); // no access of the program's own: AC does not count
    map(c, high, gdt_at, 0);
    faults(c, lldt_a, event::make(exception::page_fault, 0)); // the supervisor's, though user pages hold the code
    c[gpr::rbx] = 0x8000'0000'0000;
    faults(c, sgdt, gp());
}

TEST_CASE("limit and base are aligned each for itself") {
    auto c = make(code_size::bits_32);
    to_ring_3(c);
    c.cr[0] |= x86::cr0::am;
    c.set_rflags(2 | x86::rflags::ac);
    c[gpr::rbx] = data_page + 0x102;
    succeeds(c, sgdt);
    c[gpr::rbx] = data_page + 0x100;
    faults(c, sgdt, event::make(exception::alignment_check, 0));
    c[gpr::rbx] = data_page + 0x103;
    faults(c, str, event::make(exception::alignment_check, 0));
}

TEST_CASE("operands obey their segment") {
    auto c = make(code_size::bits_32);
    c[ds] = {.base = data_page, .limit = 0x104, .access = access_rights::data, .selector = 8};
    c[gpr::rbx] = 0x100;
    faults(c, sgdt, gp());
    faults(c, lidt, gp());
    c[ds].limit = 0x105;
    succeeds(c, sgdt);
    CHECK(at(c, 0, 2) == 0x87);
    c[ss] = c[ds];
    c[gpr::rbx] = 0x104;
    faults(c, {0x36, 0x0f, 0x01, 0x13}, event::make(exception::stack_fault, 0));
    c[ds].access = access_rights::data & ~x86::segment_access::writable;
    c[gpr::rbx] = 0x100;
    faults(c, sgdt, gp());
    succeeds(c, lgdt);
}

TEST_CASE("another instruction that stands there by now is left to the processor") {
    auto c = make(code_size::bits_32);
    for (auto const& i : {code{0x90, 0x90, 0x90}, code{0x0f, 0x01, 0x23}, code{0x0f, 0x0b, 0x90}}) {
        auto const before = c.registers();
        CHECK(run_table(c, i).kind == outcome_kind::again);
        CHECK(c.registers() == before);
    }
}

TEST_CASE("an instruction that is done ends RF, and with TF it steps") {
    auto c = make(code_size::bits_32);
    c.set_rflags(2 | x86::rflags::rf | x86::rflags::tf);
    auto const r = run_table(c, sgdt);
    CHECK(r.kind == outcome_kind::done);
    CHECK(r.single_step);
    CHECK((c.rflags() & x86::rflags::rf) == 0);
}
