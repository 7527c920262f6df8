// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT and STR load, store and fault the same whether they exit or not.
#include "gates.hpp"

using namespace payload;

namespace {

struct [[gnu::packed]] pseudo_descriptor {
    u16 limit;
    u64 base;
    u16 behind; ///< no part of it
};

constexpr u16 task{0x30}, ldt{0x10}, fresh_task{0x20}, absent_ldt{0x30}, absent_task{0x40}, beyond{0x50};
u64 tables[10]; ///< a GDT of system segments, sixteen bytes each

/// A system descriptor of 64-bit mode.
void describe(u16 selector, u64 base, u8 access) {
    tables[selector / 8] = 0x67 | (base & 0xffffff) << 16 | u64{access} << 40 | (base >> 24 & 0xff) << 56;
    tables[selector / 8 + 1] = base >> 32;
}

void lldt(u16 selector) {
    asm volatile("lldt %0" ::"r"(selector));
}
void ltr(u16 selector) {
    asm volatile("ltr %0" ::"r"(selector));
}
auto sldt() -> u64 {
    u64 value{~u64{0}};
    asm volatile("sldt %0" : "+r"(value));
    return value;
}
auto str() -> u64 {
    u64 value{~u64{0}};
    asm volatile("str %0" : "+r"(value));
    return value;
}
auto sgdt() -> pseudo_descriptor {
    pseudo_descriptor p{0, 0, 0x5a5a};
    asm volatile("sgdt %0" : "=m"(p) : "m"(p));
    return p;
}
auto sidt() -> pseudo_descriptor {
    pseudo_descriptor p{0, 0, 0x5a5a};
    asm volatile("sidt %0" : "=m"(p) : "m"(p));
    return p;
}
void lgdt(pseudo_descriptor const& p) {
    asm volatile("lgdt %0" ::"m"(p));
}
void lidt(pseudo_descriptor const& p) {
    asm volatile("lidt %0" ::"m"(p));
}

void judge_tables() {
    auto const gdt = sgdt();
    expect_equal(gdt.base, reinterpret_cast<u64>(descriptors), "base of the GDT");
    expect_equal(gdt.limit, 9 * 8 - 1, "limit of the GDT");
    expect_equal(gdt.behind, 0x5a5a, "SGDT writes ten bytes");
    auto const idt = sidt();
    expect_equal(idt.base, reinterpret_cast<u64>(&gate_of(0)), "base of the IDT");
    expect_equal(idt.limit, 256 * 16 - 1, "limit of the IDT");
    expect_equal(idt.behind, 0x5a5a, "SIDT writes ten bytes");

    lgdt({0x1234, 0x1122'3344'5566, 0});
    auto const other_gdt = sgdt();
    lgdt(gdt);
    expect_equal(other_gdt.base, 0x1122'3344'5566, "base that LGDT loaded");
    expect_equal(other_gdt.limit, 0x1234, "limit that LGDT loaded");
    lidt({0xfff, 0xffff'8000'1234'5678, 0});
    auto const other_idt = sidt();
    lidt(idt);
    expect_equal(other_idt.base, 0xffff'8000'1234'5678, "base that LIDT loaded");
    expect_equal(other_idt.limit, 0xfff, "limit that LIDT loaded");

    // Across two pages, and with an operand-size prefix, which changes nothing here.
    alignas(4096) static u8 pages[2 * 4096];
    auto* const across = reinterpret_cast<pseudo_descriptor*>(pages + 4096 - 5);
    asm volatile("sgdt %0" : "=m"(*across));
    expect_equal(across->base, gdt.base, "base across two pages");
    pseudo_descriptor narrow{};
    asm volatile(".byte 0x66; sgdt %0" : "=m"(narrow));
    expect_equal(narrow.base, gdt.base, "base with an operand-size prefix");
    asm volatile(".byte 0x66; lgdt %0" ::"m"(narrow));
    expect_equal(sgdt().base, gdt.base, "base loaded with an operand-size prefix");

    static auto const absent_page = reinterpret_cast<u64>(pages) + 4096;
    entry_of(absent_page) &= ~page::present;
    invlpg(absent_page);
    auto const absent = attempt([] {
        asm volatile("sidt %0" : "=m"(*reinterpret_cast<pseudo_descriptor*>(absent_page - 4)));
    });
    expect_equal(absent.vector, vector::page_fault, "SIDT to a page that is absent");
    expect_equal(absent.cr2, absent_page, "its address");
    expect_equal(absent.error_code, 2, "its error code");
    expect_exception(
        vector::page_fault, [] { lgdt(*reinterpret_cast<pseudo_descriptor const*>(absent_page)); }, "LGDT from there");
}

void expect_refused(caught const& c, unsigned vector, u16 selector, char const* what) {
    expect_equal(c.vector, vector, what);
    expect_equal(c.error_code, selector, what);
}

void judge_segments() {
    expect_equal(str(), task, "STR of 64 bits");
    u64 narrow{~u64{0}}, middle{~u64{0}};
    asm volatile("strw %w0" : "+r"(narrow));
    asm volatile("strl %k0" : "+r"(middle));
    expect_equal(narrow, 0xffff'ffff'ffff'0000 | task, "STR of 16 bits");
    expect_equal(middle, task, "STR of 32 bits");
    u64 memory{~u64{0}};
    asm volatile("str %0" : "+m"(memory));
    expect_equal(memory, 0xffff'ffff'ffff'0000 | task, "STR to memory");

    describe(ldt, 0xffff'8765'1000'0000, 0x82);
    describe(fresh_task, reinterpret_cast<u64>(task_state), 0x89);
    describe(absent_ldt, 0, 0x02);
    describe(absent_task, 0, 0x09);
    static u64 mixed[9 + 10 - 2];
    for (unsigned i{}; i != 9; ++i)
        mixed[i] = descriptors[i];
    for (unsigned i{2}; i != 10; ++i)
        mixed[9 + i - 2] = tables[i];
    constexpr u16 shift{9 * 8 - ldt};
    auto const old = sgdt();
    lgdt({shift + beyond - 1, reinterpret_cast<u64>(mixed), 0});

    lldt(ldt + shift);
    expect_equal(sldt(), ldt + shift, "SLDT");
    u16 where{ldt + shift};
    asm volatile("lldt %0" ::"m"(where));
    memory = ~u64{0};
    asm volatile("sldt %0" : "+m"(memory));
    expect_equal(memory, 0xffff'ffff'ffff'0000 | (ldt + shift), "SLDT to memory");
    auto const gp = vector::protection;
    expect_refused(attempt([] { lldt(ldt + shift + 4); }), gp, ldt + shift + 4, "LLDT from the LDT");
    expect_refused(attempt([] { lldt(fresh_task + shift); }), gp, fresh_task + shift, "LLDT of a task");
    expect_refused(attempt([] { lldt(data | 3); }), gp, data, "LLDT of data");
    expect_refused(attempt([] { lldt(beyond + shift); }), gp, beyond + shift, "LLDT beyond the table");
    expect_refused(attempt([] { lldt(beyond + shift - 8); }), gp, beyond + shift - 8, "LLDT half beyond the table");
    expect_refused(attempt([] { lldt(absent_ldt + shift); }), vector::not_present, absent_ldt + shift,
                   "LLDT of an absent one");
    expect_equal(sldt(), ldt + shift, "LDTR after the refusals");

    expect_refused(attempt([] { ltr(ldt + shift); }), gp, ldt + shift, "LTR of an LDT");
    expect_refused(attempt([] { ltr(task); }), gp, task, "LTR of a busy task");
    expect_refused(attempt([] { ltr(fresh_task + shift + 4); }), gp, fresh_task + shift + 4, "LTR from the LDT");
    expect_refused(attempt([] { ltr(absent_task + shift); }), vector::not_present, absent_task + shift,
                   "LTR of an absent one");
    expect_equal(str(), task, "TR after the refusals");
    auto const access = [] { return mixed[(fresh_task + shift) / 8] >> 40 & 0xff; };
    expect_equal(access(), 0x89, "before LTR");
    ltr(fresh_task + shift);
    expect_equal(str(), fresh_task + shift, "TR");
    expect_equal(access(), 0x8b, "LTR makes the task busy");
    mixed[task / 8] &= ~(u64{2} << 40);
    ltr(task);
    lldt(3);
    expect_equal(sldt() & ~u64{3}, 0, "LLDT of null");
    lgdt(old);
}

/// Ring 3 stores, and loads nothing.
void judge_user() {
    alignas(4096) static u8 page_of_user[4096];
    auto const here = reinterpret_cast<u64>(page_of_user);
    allow_user(here);
    struct attempted {
        u8 code[5];
        char const* what;
    };
    // On (%rax), and behind each UD2.
    constexpr attempted loads[]{attempted{{0x0f, 0x01, 0x10, 0x0f, 0x0b}, "LGDT of ring 3"},
                                attempted{{0x0f, 0x01, 0x18, 0x0f, 0x0b}, "LIDT"},
                                attempted{{0x0f, 0x00, 0x10, 0x0f, 0x0b}, "LLDT"},
                                attempted{{0x0f, 0x00, 0x18, 0x0f, 0x0b}, "LTR"},
                                attempted{{0x0f, 0x00, 0xd0, 0x0f, 0x0b}, "LLDT of AX"},
                                attempted{{0x0f, 0x00, 0xd8, 0x0f, 0x0b}, "LTR of AX"}};
    for (auto const& a : loads) {
        for (unsigned i{}; i != 5; ++i)
            page_of_user[i] = a.code[i];
        auto const c = attempt_user(here, here + 4096);
        expect_equal(c.vector, vector::protection, a.what);
        expect_equal(c.error_code, 0, a.what);
    }
    // SGDT, SIDT, SLDT and STR to the stack.
    constexpr u8 stores[]{0x0f, 0x01, 0x44, 0x24, 0xc0, 0x0f, 0x01, 0x4c, 0x24, 0xd0, 0x0f,
                          0x00, 0x44, 0x24, 0xe0, 0x0f, 0x00, 0x4c, 0x24, 0xf0, 0x0f, 0x0b};
    for (unsigned i{}; i != sizeof stores; ++i)
        page_of_user[i] = stores[i];
    expect_equal(attempt_user(here, here + 4096).vector, vector::undefined, "stores of ring 3");
    expect_equal(reinterpret_cast<pseudo_descriptor*>(here + 4096 - 64)->base, sgdt().base, "SGDT of ring 3");
    expect_equal(reinterpret_cast<pseudo_descriptor*>(here + 4096 - 48)->base, sidt().base, "SIDT of ring 3");
    expect_equal(*reinterpret_cast<u16*>(here + 4096 - 16), task, "STR of ring 3");
    constexpr u64 umip{1u << 11};
    if ((cpuid(7).ecx >> 2 & 1) == 0)
        return;
    write_cr4(read_cr4() | umip);
    for (unsigned at{}; at <= 15; at += 5) {
        auto const c = attempt_user(here + at, here + 4096);
        expect_equal(c.vector, vector::protection, "stores of ring 3 with UMIP");
        expect_equal(c.rip, here + at, "where they are");
    }
    expect_equal(str(), task, "STR of ring 0 with UMIP");
    write_cr4(read_cr4() & ~umip);
}

} // namespace

void payload::run() {
    judge_tables();
    judge_segments();
    judge_user();
}
