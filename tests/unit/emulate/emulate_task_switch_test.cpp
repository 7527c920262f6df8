// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "task_model.hpp"

#include <array>
#include <cstdint>
#include <vector>

using namespace hv;
using namespace hv::test;
using source = exits::task_switch::source;
using x86::exception;
using x86::gpr;
using enum x86::segment_name;

namespace {

constexpr std::uint64_t new_flags{0x203}, nt{x86::rflags::nt};
constexpr std::uint64_t busy{0x02};

void make_busy(tasking_cpu& c) {
    c.ram.put(gdt_at + sel::new_task + 5, 1, access_of(c, sel::new_task) | busy);
}

auto jump(tasking_cpu& c) -> task_switch_result {
    return switch_task(c, request(c, source::jmp));
}

/// The faults of a switch, as vector and error code.
struct expected_fault {
    exception vector;
    std::uint32_t error_code;
};

void check_fault(task_switch_result const& r, expected_fault const& wanted, bool committed) {
    CHECK(r.committed == committed);
    REQUIRE(r.stop.kind == outcome_kind::fault);
    CHECK(r.stop.exception == event::make(wanted.vector, wanted.error_code));
}

} // namespace

TEST_CASE("JMP to a TSS saves the old task, loads the new one, and passes the busy bit on") {
    auto c = make_tasks();
    auto const r = jump(c);
    CHECK(r.committed);
    CHECK_FALSE(r.stop);
    // The old task.
    CHECK(c.ram.get(old_tss_at + tss_32::eip, 4) == code_page + 2);
    CHECK(c.ram.get(old_tss_at + tss_32::eflags, 4) == 0x246);
    for (unsigned i{0}; i < 8; ++i)
        CHECK(c.ram.get(old_tss_at + tss_32::eax + 4 * i, 4) == 0x01010100u * (i + 1));
    CHECK(c.ram.get(old_tss_at + tss_32::cs, 2) == sel::code);
    for (auto const at : {tss_32::es, tss_32::ss, tss_32::ds, tss_32::fs, tss_32::gs})
        CHECK(c.ram.get(old_tss_at + at, 2) == sel::data);
    CHECK(c.ram.get(old_tss_at + tss_32::cr3, 4) == 0);
    CHECK(c.ram.get(old_tss_at + tss_32::ldt, 4) == 0);
    CHECK(access_of(c, sel::old_task) == 0x89);
    // The new one.
    CHECK(c.rip() == 0x12345678);
    CHECK(c.rflags() == new_flags);
    CHECK(c[gpr::rax] == 0xa0a0a000);
    CHECK(c[gpr::rcx] == 0xa0a0a001);
    CHECK(c[gpr::rsp] == data_page + 0x400);
    CHECK(c[gpr::rdi] == 0xa0a0a007);
    CHECK(c[cs] == x86::segment{.limit = 0xffffffff, .access = 0xc09b, .selector = sel::code});
    for (auto const name : {es, ss, ds, fs, gs})
        CHECK(c[name] == x86::segment{.limit = 0xffffffff, .access = 0xc093, .selector = sel::data});
    CHECK(c[tr] == x86::segment{.base = new_tss_at, .limit = 0x67, .access = 0x8b, .selector = sel::new_task});
    CHECK((c[ldtr].access & x86::segment_access::unusable) != 0);
    CHECK(access_of(c, sel::new_task) == 0x8b);
    CHECK(c.ram.get(new_tss_at + tss_32::link, 4) == 0);
    CHECK(c.cr[0] == (x86::cr0::pe | x86::cr0::ts));
    CHECK(c.dr[7] == (0x7ff & ~0x155));
}

TEST_CASE("CALL and gates nest: both tasks are busy, NT is set, and the link leads back") {
    for (auto const reason : {source::call, source::gate}) {
        auto c = make_tasks();
        auto const r = switch_task(c, request(c, reason));
        CHECK((r.committed and not r.stop));
        CHECK(c.rflags() == (new_flags | nt));
        CHECK((c.ram.get(old_tss_at + tss_32::eflags, 4) & nt) == 0);
        CHECK(c.ram.get(new_tss_at + tss_32::link, 2) == sel::old_task);
        CHECK(access_of(c, sel::old_task) == 0x8b);
        CHECK(access_of(c, sel::new_task) == 0x8b);
    }
}

TEST_CASE("IRET returns to a busy task: NT leaves the saved flags, the old task becomes available") {
    auto c = make_tasks();
    c.set_rflags(0x246 | nt);
    make_busy(c);
    auto const r = switch_task(c, request(c, source::iret));
    CHECK((r.committed and not r.stop));
    CHECK(c.ram.get(old_tss_at + tss_32::eflags, 4) == 0x246);
    CHECK(c.rflags() == new_flags);
    CHECK(access_of(c, sel::old_task) == 0x89);
    CHECK(access_of(c, sel::new_task) == 0x8b);
    CHECK(c.ram.get(new_tss_at + tss_32::link, 2) == 0);
}

TEST_CASE("JMP leaves NT of both tasks as it is") {
    auto c = make_tasks();
    c.set_rflags(0x246 | nt);
    CHECK(jump(c).committed);
    CHECK(c.ram.get(old_tss_at + tss_32::eflags, 4) == (0x246 | nt));
    CHECK(c.rflags() == new_flags);
    c = make_tasks();
    c.ram.put(new_tss_at + tss_32::eflags, 4, new_flags | nt);
    CHECK(jump(c).committed);
    CHECK(c.rflags() == (new_flags | nt));
}

TEST_CASE("flags of a new task are those that exist") {
    auto c = make_tasks();
    c.ram.put(new_tss_at + tss_32::eflags, 4, 0xffff'ffff & ~x86::rflags::vm);
    CHECK(jump(c).committed);
    CHECK(c.rflags() == ((0x3f'7fd5 & ~x86::rflags::vm) | 2));
}

TEST_CASE("a 16-bit TSS has words, no CR3, no FS and GS") {
    auto c = make_tasks(x86::system_type::tss_16);
    c.cr[0] |= x86::cr0::pg; // identity: the tables of the model are never looked at
    c.cr[0] &= ~x86::cr0::pg;
    c.cr[3] = 0x5000;
    REQUIRE(jump(c).committed);
    CHECK(c.rip() == 0x1234);
    CHECK(c.rflags() == new_flags);
    CHECK(c[gpr::rax] == 0xa000);
    CHECK(c[gpr::rsp] == 0x400);
    CHECK(c[ss].base == data_page);
    CHECK(c[ds].selector == sel::data);
    CHECK(c[fs].selector == 0);
    CHECK((c[gs].access & x86::segment_access::unusable) != 0);
    CHECK(c.cr[3] == 0x5000);
    CHECK(c[tr].access == 0x83);
    // And back again: the old task is the 16-bit one now.
    auto back = request(c, source::jmp);
    back.selector = sel::old_task;
    c.ram.put(old_tss_at + tss_32::eip, 4, 0x77);
    REQUIRE(switch_task(c, back).committed);
    CHECK(c.ram.get(new_tss_at + tss_16::ip, 2) == 0x1236);
    CHECK(c.ram.get(new_tss_at + tss_16::ax, 2) == 0xa000);
    CHECK(c.ram.get(new_tss_at + tss_16::ds, 2) == sel::data);
    CHECK(c.ram.get(new_tss_at + tss_16::ldt, 2) == 0);
    CHECK(c.rip() == 0x77);
    CHECK(access_of(c, sel::new_task) == 0x81);
}

TEST_CASE("a new task outside the table, of another type, absent or too small is the old task's fault") {
    auto const fails = [](source reason, std::uint16_t selector, expected_fault const& wanted, auto change) {
        auto c = make_tasks();
        if (reason == source::iret)
            make_busy(c);
        change(c);
        auto const before = tables_of(c);
        auto const registers = c.registers();
        auto r = request(c, reason);
        r.selector = selector;
        check_fault(switch_task(c, r), wanted, false);
        CHECK(tables_of(c) == before);
        CHECK(c.registers() == registers);
    };
    auto const none = [](tasking_cpu&) {};
    for (auto const reason : {source::call, source::jmp, source::gate, source::iret}) {
        auto const wrong = reason == source::iret ? exception::invalid_tss : exception::general_protection;
        fails(reason, sel::beyond, {wrong, sel::beyond}, none);
        fails(reason, sel::new_task | 4, {wrong, sel::new_task | 4}, none);
        fails(reason, sel::data, {wrong, sel::data}, none);
        fails(reason, sel::ldt, {wrong, sel::ldt}, none);
        fails(reason, 0, {wrong, 0}, none);
        fails(reason, sel::new_task | 3, {exception::segment_not_present, sel::new_task},
              [](tasking_cpu& c) { c.ram.put(gdt_at + sel::new_task + 5, 1, access_of(c, sel::new_task) & 0x7f); });
        fails(reason, sel::new_task, {exception::invalid_tss, sel::new_task},
              [](tasking_cpu& c) { c.ram.put(gdt_at + sel::new_task, 2, 0x66); });
        fails(reason, sel::new_task, {exception::invalid_tss, sel::old_task},
              [](tasking_cpu& c) { c[tr].limit = 0x5c; });
    }
    fails(source::jmp, sel::new_task, {exception::general_protection, sel::new_task}, make_busy);
    fails(source::call, sel::new_task, {exception::general_protection, sel::new_task}, make_busy);
    fails(source::iret, sel::new_task, {exception::invalid_tss, sel::new_task},
          [](tasking_cpu& c) { c.ram.put(gdt_at + sel::new_task + 5, 1, 0x89); });
    fails(source::jmp, sel::new_task, {exception::invalid_tss, 0xff8}, [](tasking_cpu& c) { c[tr].selector = 0xff8; });
}

TEST_CASE("a segment of the new task that cannot be loaded is the new task's fault") {
    struct wrong_segment {
        std::uint64_t at;
        std::uint16_t selector;
        exception vector;
    };
    using enum exception;
    for (auto const& w : {
             wrong_segment{tss_32::ldt, sel::beyond, invalid_tss},
             {tss_32::ldt, sel::data, invalid_tss},
             {tss_32::ldt, sel::absent_ldt, invalid_tss},
             {tss_32::ldt, sel::ldt | 4, invalid_tss},
             {tss_32::cs, 0, invalid_tss},
             {tss_32::cs, sel::beyond, invalid_tss},
             {tss_32::cs, sel::data, invalid_tss},
             {tss_32::cs, sel::call_gate, invalid_tss},
             {tss_32::cs, sel::code | 1, invalid_tss},
             {tss_32::cs, sel::user_code & 0xfffc, invalid_tss},
             {tss_32::cs, sel::absent_code, segment_not_present},
             {tss_32::ss, 0, invalid_tss},
             {tss_32::ss, sel::beyond, invalid_tss},
             {tss_32::ss, sel::code, invalid_tss},
             {tss_32::ss, sel::read_only, invalid_tss},
             {tss_32::ss, sel::data | 3, invalid_tss},
             {tss_32::ss, sel::user_data, invalid_tss},
             {tss_32::ss, sel::absent_data, stack_fault},
             {tss_32::ds, sel::beyond, invalid_tss},
             {tss_32::es, sel::execute_only, invalid_tss},
             {tss_32::fs, sel::call_gate, invalid_tss},
             {tss_32::gs, sel::data | 3, invalid_tss},
             {tss_32::ds, sel::absent_data, segment_not_present},
             {tss_32::es, sel::local_data, invalid_tss},
         }) {
        INFO("TSS offset " << w.at << ", selector " << w.selector);
        auto c = make_tasks();
        c.ram.put(new_tss_at + w.at, 2, w.selector);
        check_fault(jump(c), {w.vector, w.selector & 0xfffcu}, true);
        CHECK(c.rip() == 0x12345678); // the handler finds the new task
        CHECK(c[tr].selector == sel::new_task);
        CHECK(c[cs].selector == c.ram.get(new_tss_at + tss_32::cs, 2));
        CHECK(c[ss].selector == c.ram.get(new_tss_at + tss_32::ss, 2));
        CHECK((c[cs].access & x86::segment_access::unusable) == 0); // or no processor would enter
        CHECK(access_of(c, sel::new_task) == 0x8b);
        CHECK(access_of(c, sel::old_task) == 0x89);
    }
}

TEST_CASE("errors in the course of an event from outside have EXT set") {
    auto c = make_tasks();
    c.ram.put(new_tss_at + tss_32::ss, 2, sel::code);
    auto r = request(c, source::gate);
    r.external = true;
    check_fault(switch_task(c, r), {exception::invalid_tss, sel::code | 1}, true);
    c = make_tasks();
    r.selector = sel::beyond;
    check_fault(switch_task(c, r), {exception::general_protection, sel::beyond | 1}, false);
}

TEST_CASE("a user task runs in ring 3; its data segments are of its privilege") {
    auto c = make_tasks();
    c.ram.put(new_tss_at + tss_32::cs, 2, sel::user_code);
    c.ram.put(new_tss_at + tss_32::ss, 2, sel::user_data);
    for (auto const at : {tss_32::es, tss_32::ds})
        c.ram.put(new_tss_at + at, 2, sel::user_data);
    c.ram.put(new_tss_at + tss_32::fs, 2, 0);
    c.ram.put(new_tss_at + tss_32::gs, 2, sel::conforming | 3);
    auto const r = jump(c);
    CHECK((r.committed and not r.stop));
    CHECK(c.cpl() == 3);
    CHECK(c[ds].access == 0xc0f3);
    CHECK((c[fs].access & x86::segment_access::unusable) != 0);
    CHECK(c[gs].selector == (sel::conforming | 3));
    c = make_tasks();
    c.ram.put(new_tss_at + tss_32::cs, 2, sel::user_code);
    c.ram.put(new_tss_at + tss_32::ss, 2, sel::user_data);
    check_fault(jump(c), {exception::invalid_tss, sel::data}, true); // DS of ring 0
}

TEST_CASE("a conforming code segment lends itself to less privileged tasks, not to more privileged ones") {
    auto c = make_tasks();
    c.ram.put(new_tss_at + tss_32::cs, 2, sel::conforming | 3);
    c.ram.put(new_tss_at + tss_32::ss, 2, sel::user_data);
    for (auto const at : {tss_32::es, tss_32::ds, tss_32::fs, tss_32::gs})
        c.ram.put(new_tss_at + at, 2, 0);
    CHECK_FALSE(jump(c).stop);
    CHECK(c.cpl() == 3);
    c = make_tasks();
    set_descriptor(c, sel::conforming, make_descriptor(0, 0xfffff, 0xc0ff));
    c.ram.put(new_tss_at + tss_32::cs, 2, sel::conforming);
    check_fault(jump(c), {exception::invalid_tss, sel::conforming}, true);
}

TEST_CASE("segments come from the LDT of the new task, and are marked accessed") {
    auto c = make_tasks();
    c.ram.put(new_tss_at + tss_32::ldt, 2, sel::ldt);
    c.ram.put(new_tss_at + tss_32::ds, 2, sel::local_data);
    c.ram.put(new_tss_at + tss_32::es, 2, sel::fresh_data);
    CHECK_FALSE(jump(c).stop);
    CHECK(c[ldtr] == x86::segment{.base = ldt_at, .limit = 7, .access = 0x82, .selector = sel::ldt});
    CHECK(c[ds].base == 0x1000);
    CHECK(access_of(c, sel::fresh_data) == 0x93);
    CHECK(c[es].access == 0xc093);
    c = make_tasks();
    c.ram.put(new_tss_at + tss_32::ldt, 2, sel::ldt);
    c.ram.put(new_tss_at + tss_32::ds, 2, sel::local_data + 8);
    check_fault(jump(c), {exception::invalid_tss, sel::local_data + 8}, true);
}

TEST_CASE("an error code goes onto the new task's stack in the size of its TSS") {
    auto c = make_tasks();
    auto r = request(c, source::gate);
    r.has_error_code = true;
    r.error_code = 0x8badf00d;
    CHECK_FALSE(switch_task(c, r).stop);
    CHECK(c[gpr::rsp] == data_page + 0x3fc);
    CHECK(c.ram.get(data_page + 0x3fc, 4) == 0x8badf00d);
    c = make_tasks(x86::system_type::tss_16);
    c.ram.put(data_page + 0x3fc, 4, 0);
    CHECK_FALSE(switch_task(c, r).stop);
    CHECK(c[gpr::rsp] == 0x3fe);
    CHECK(c.ram.get(data_page + 0x3fc, 4) == 0xf00d0000);
    c = make_tasks();
    set_descriptor(c, sel::data, make_descriptor(0, 0xfff, 0x4093)); // ESP lies behind it
    r.external = true;
    check_fault(switch_task(c, r), {exception::stack_fault, 1}, true);
    CHECK(c[gpr::rsp] == data_page + 0x400);
}

TEST_CASE("EIP behind the code segment's limit is the new task's #GP") {
    auto c = make_tasks();
    set_descriptor(c, sel::code, make_descriptor(0, 0x5678, 0x409b));
    check_fault(jump(c), {exception::general_protection, 0}, true);
    CHECK(c.rip() == 0x12345678);
}

TEST_CASE("the T flag of the new TSS traps before its first instruction") {
    auto c = make_tasks();
    c.ram.put(new_tss_at + tss_32::trap, 2, 1);
    auto const r = jump(c);
    CHECK(r.committed);
    CHECK(r.stop.kind == outcome_kind::fault);
    CHECK(r.stop.exception == event::make(exception::debug));
    CHECK(r.stop.qualification == 0x8000);
}

TEST_CASE("a virtual-8086 task has no descriptors") {
    auto c = make_tasks();
    c.ram.put(new_tss_at + tss_32::eflags, 4, 0x23202);
    c.ram.put(new_tss_at + tss_32::eip, 4, 0x100);
    c.ram.put(new_tss_at + tss_32::cs, 2, 0x1234);
    c.ram.put(new_tss_at + tss_32::ss, 2, 0x2000);
    CHECK_FALSE(jump(c).stop);
    CHECK(c.rflags() == 0x23202);
    CHECK(c[cs] == x86::segment{.base = 0x12340, .limit = 0xffff, .access = 0xf3, .selector = 0x1234});
    CHECK(c.cpl() == 3);
    // And from there: the old task's selectors are saved as they are, VM with them.
    auto back = request(c, source::gate);
    back.selector = sel::old_task;
    CHECK_FALSE(switch_task(c, back).committed == false);
    CHECK(c.ram.get(new_tss_at + tss_32::eflags, 4) == 0x23202);
    CHECK(c.ram.get(new_tss_at + tss_32::cs, 2) == 0x1234);
    CHECK(c.cpl() == 0);
}

TEST_CASE("tables may cross pages, and what they need must be memory") {
    auto c = make_tasks();
    set_descriptor(c, sel::new_task, make_descriptor(new_tss_at + 0xfd6, 0x67, 0x89));
    for (unsigned i{0}; i < 104; ++i)
        c.ram.put(new_tss_at + 0xfd6 + i, 1, 0);
    c.ram.put(new_tss_at + 0xfd6 + tss_32::eip, 4, 0x4321);
    c.ram.put(new_tss_at + 0xfd6 + tss_32::eflags, 4, new_flags);
    c.ram.put(new_tss_at + 0xfd6 + tss_32::eax, 4, 0x11223344); // in both pages
    c.ram.put(new_tss_at + 0xfd6 + tss_32::cs, 2, sel::code);
    c.ram.put(new_tss_at + 0xfd6 + tss_32::ss, 2, sel::data);
    CHECK_FALSE(jump(c).stop);
    CHECK(c[gpr::rax] == 0x11223344);
    CHECK(c.rip() == 0x4321);
    c = make_tasks();
    set_descriptor(c, sel::new_task, make_descriptor(device_page, 0x67, 0x89));
    auto const before = tables_of(c);
    auto const r = jump(c);
    CHECK_FALSE(r.committed);
    CHECK(r.stop.kind == outcome_kind::unsupported);
    CHECK(tables_of(c) == before);
    CHECK(c.log.empty());
}

namespace {

/// 32-bit paging: the first 4 MiB mapped one to one by the tables at `at`.
void identity_tables(tasking_cpu& c, std::uint64_t at) {
    c.ram.add(at);
    c.ram.add(at + 0x1000);
    c.ram.put(at, 4, (at + 0x1000) | page::all);
    for (unsigned i{0}; i < 1024; ++i)
        c.ram.put(at + 0x1000 + 4 * i, 4, i << 12 | page::all);
}
constexpr std::uint64_t old_tables{0x200'0000}, new_tables{0x201'0000};

auto make_paged_tasks() -> tasking_cpu {
    auto c = make_tasks();
    identity_tables(c, old_tables);
    identity_tables(c, new_tables);
    c.cr[0] |= x86::cr0::pg | x86::cr0::wp;
    c.cr[3] = old_tables;
    c.ram.put(new_tss_at + tss_32::cr3, 4, new_tables);
    return c;
}
void unmap(tasking_cpu& c, std::uint64_t tables, std::uint64_t linear) {
    c.ram.put(tables + 0x1000 + 4 * (linear >> 12), 4, 0);
}
void protect(tasking_cpu& c, std::uint64_t tables, std::uint64_t linear) {
    c.ram.put(tables + 0x1000 + 4 * (linear >> 12), 4, linear | page::present);
}

} // namespace

TEST_CASE("with paging a 32-bit task brings its CR3; descriptors are then read through it") {
    auto c = make_paged_tasks();
    CHECK_FALSE(jump(c).stop);
    CHECK(c.cr[3] == new_tables);
    c = make_paged_tasks();
    unmap(c, new_tables, gdt_at); // both TSSs are the old address space's, segments the new one's
    auto const r = jump(c);
    CHECK(r.committed);
    CHECK(r.stop.exception == event::make(exception::page_fault, 0));
    CHECK(r.stop.qualification == gdt_at + sel::code);
    CHECK(c.cr[3] == new_tables);
}

TEST_CASE("a CR3 that cannot be loaded is the old task's #GP") {
    auto c = make_paged_tasks();
    c.refuses_control_registers = true;
    auto const before = tables_of(c);
    auto const registers = c.registers();
    check_fault(jump(c), {exception::general_protection, 0}, false);
    CHECK(tables_of(c) == before);
    CHECK(c.registers() == registers);
}

TEST_CASE("page faults before the commit are the old task's, and nothing has changed") {
    struct hole {
        std::uint64_t linear;
        bool only_read;
        source reason;
        std::uint64_t cr2;
        std::uint32_t error_code;
    };
    for (auto const& h : {hole{gdt_at, false, source::jmp, gdt_at + sel::new_task, 2},
                          {gdt_at, true, source::jmp, gdt_at + sel::new_task, 3},
                          {old_tss_at, false, source::jmp, old_tss_at, 2},
                          {old_tss_at, true, source::jmp, old_tss_at, 3},
                          {new_tss_at, false, source::jmp, new_tss_at, 0},
                          {new_tss_at, false, source::call, new_tss_at, 2},
                          {new_tss_at, true, source::call, new_tss_at, 3}}) {
        auto c = make_paged_tasks();
        h.only_read ? protect(c, old_tables, h.linear) : unmap(c, old_tables, h.linear);
        c.register_file::cpl = 3; // these accesses are the supervisor's
        c.set_rflags(c.rflags() | x86::rflags::ac);
        auto const before = tables_of(c);
        auto const registers = c.registers();
        auto const r = switch_task(c, request(c, h.reason));
        CHECK_FALSE(r.committed);
        CHECK(r.stop.exception == event::make(exception::page_fault, h.error_code));
        CHECK(r.stop.qualification == h.cr2);
        CHECK(tables_of(c) == before);
        CHECK(c.registers() == registers);
    }
}

TEST_CASE("a read-only new TSS serves a JMP, a read-only GDT page the accessed bit does not need") {
    auto c = make_paged_tasks();
    protect(c, old_tables, new_tss_at);
    CHECK_FALSE(jump(c).stop);
    c = make_paged_tasks();
    protect(c, new_tables, gdt_at);
    CHECK_FALSE(jump(c).stop);
    c = make_paged_tasks();
    protect(c, new_tables, gdt_at);
    c.ram.put(new_tss_at + tss_32::es, 2, sel::fresh_data);
    auto const r = jump(c);
    CHECK(r.committed);
    CHECK(r.stop.exception == event::make(exception::page_fault, 3));
    CHECK(r.stop.qualification == gdt_at + sel::fresh_data);
}

TEST_CASE("a page fault of the error code's push is the new task's, in its own privilege") {
    auto c = make_paged_tasks();
    unmap(c, new_tables, data_page);
    auto r = request(c, source::gate);
    r.has_error_code = true;
    auto const result = switch_task(c, r);
    CHECK(result.committed);
    CHECK(result.stop.exception == event::make(exception::page_fault, 2));
    CHECK(result.stop.qualification == data_page + 0x3fc);
}

TEST_CASE("a task that returns to itself goes on behind its IRET") {
    auto c = make_tasks();
    auto r = request(c, source::iret);
    r.selector = sel::old_task;
    CHECK_FALSE(switch_task(c, r).stop);
    CHECK(c.rip() == code_page + 2);
    CHECK(c[gpr::rax] == 0x01010100);
}

TEST_CASE("no TSS, descriptor or table that a guest may write leads outside its memory") {
    std::uint64_t seed{0x9e3779b97f4a7c15};
    auto const next = [&seed] {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return seed;
    };
    unsigned committed{0};
    for (unsigned round{0}; round < 4000; ++round) {
        auto c = make_tasks(next() % 3 == 0 ? x86::system_type::tss_16 : x86::system_type::tss_32);
        auto const reason = static_cast<source>(next() & 3);
        if (reason == source::iret)
            make_busy(c);
        for (auto n = next() % 6; n != 0; --n)
            switch (next() % 5) {
            case 0:
                c.ram.put(new_tss_at + next() % 104, 2, next());
                break;
            case 1:
                c.ram.put(new_tss_at + tss_32::es + next() % 14 * 2, 2, next() % 0x90);
                break;
            case 2:
                c.ram.put(gdt_at + next() % 0x88, 1, next());
                break;
            case 3:
                c.gdt.limit = static_cast<std::uint16_t>(next() % 0x90);
                break;
            default:
                c[tr].limit = static_cast<std::uint32_t>(next() % 0x70);
                break;
            }
        auto r = request(c, reason);
        r.has_error_code = (next() & 1) != 0;
        committed += switch_task(c, r).committed;
    }
    CHECK(committed > 400);
    CHECK(committed < 3900);
}
