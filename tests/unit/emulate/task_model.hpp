// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "test_cpu.hpp"

#include <hv/emulate/task_switch.hpp>

#include <cstdint>

namespace hv::test {

/// A processor in 32-bit protected mode that runs one task and knows another.
struct tasking_cpu : cpu {
    x86::descriptor_table gdt{};

    void set_segment(x86::segment_name name, x86::segment const& value) {
        segments[static_cast<unsigned>(name)] = value;
        if (name == x86::segment_name::ss)
            register_file::cpl = static_cast<std::uint8_t>(value.access >> x86::segment_access::dpl_shift & 3);
    }
    auto gdtr() const -> x86::descriptor_table { return gdt; }
};
static_assert(task_cpu<tasking_cpu>);

/// Where the tables lie. Each in a page of its own.
inline constexpr std::uint64_t gdt_at{0x30000}, ldt_at{0x31000}, old_tss_at{0x32000}, new_tss_at{0x33000};

/// Selectors of the model's GDT.
namespace sel {
inline constexpr std::uint16_t code{0x08}, data{0x10}, user_code{0x18 | 3}, user_data{0x20 | 3}, old_task{0x28},
    new_task{0x30}, ldt{0x38}, absent_code{0x40}, absent_data{0x48}, conforming{0x50}, execute_only{0x58},
    read_only{0x60}, narrow_data{0x68}, fresh_data{0x70}, absent_ldt{0x78}, call_gate{0x80}, beyond{0x88},
    local_data{0x04};
}

[[nodiscard]] constexpr auto make_descriptor(std::uint64_t base, std::uint32_t limit, std::uint32_t access)
    -> std::uint64_t {
    return (limit & 0xffff) | (base & 0xff'ffff) << 16 | std::uint64_t{access & 0xf0ff} << 40 |
           std::uint64_t{limit >> 16 & 0xf} << 48 | (base >> 24 & 0xff) << 56;
}

inline void set_descriptor(tasking_cpu& c, std::uint16_t selector, std::uint64_t value) {
    c.ram.put(gdt_at + x86::selector::offset(selector), 8, value);
}
[[nodiscard]] inline auto access_of(tasking_cpu& c, std::uint16_t selector) -> std::uint64_t {
    return c.ram.get(gdt_at + x86::selector::offset(selector) + 5, 1);
}

/// The fields of a TSS that a test sets.
namespace tss_32 {
inline constexpr std::uint64_t link{0}, cr3{0x1c}, eip{0x20}, eflags{0x24}, eax{0x28}, esp{0x38}, es{0x48}, cs{0x4c},
    ss{0x50}, ds{0x54}, fs{0x58}, gs{0x5c}, ldt{0x60}, trap{0x64};
}
namespace tss_16 {
inline constexpr std::uint64_t link{0}, ip{0x0e}, flags{0x10}, ax{0x12}, sp{0x1a}, es{0x22}, cs{0x24}, ss{0x26},
    ds{0x28}, ldt{0x2a};
}

/// The old task runs at `code_page` with ring 0 and recognisable registers; the new one waits with flat segments.
inline auto make_tasks(std::uint64_t new_type = x86::system_type::tss_32) -> tasking_cpu {
    tasking_cpu c;
    static_cast<cpu&>(c) = make_cpu(code_size::bits_32);
    for (auto const page : {gdt_at, ldt_at, old_tss_at, new_tss_at, new_tss_at + 0x1000})
        c.ram.add(page);
    c.gdt = {.base = gdt_at, .limit = 0x87};
    set_descriptor(c, sel::code, make_descriptor(0, 0xfffff, 0xc09b));
    set_descriptor(c, sel::data, make_descriptor(0, 0xfffff, 0xc093));
    set_descriptor(c, sel::user_code, make_descriptor(0, 0xfffff, 0xc0fb));
    set_descriptor(c, sel::user_data, make_descriptor(0, 0xfffff, 0xc0f3));
    set_descriptor(c, sel::old_task, make_descriptor(old_tss_at, 0x67, 0x8b));
    set_descriptor(
        c, sel::new_task,
        make_descriptor(new_tss_at, (new_type & 8) != 0 ? 0x67 : 0x2b, 0x80 | static_cast<std::uint32_t>(new_type)));
    set_descriptor(c, sel::ldt, make_descriptor(ldt_at, 0x7, 0x82));
    set_descriptor(c, sel::absent_code, make_descriptor(0, 0xfffff, 0xc01b));
    set_descriptor(c, sel::absent_data, make_descriptor(0, 0xfffff, 0xc013));
    set_descriptor(c, sel::conforming, make_descriptor(0, 0xfffff, 0xc09f));
    set_descriptor(c, sel::execute_only, make_descriptor(0, 0xfffff, 0xc099));
    set_descriptor(c, sel::read_only, make_descriptor(0, 0xfffff, 0xc091));
    set_descriptor(c, sel::narrow_data, make_descriptor(data_page, 0xffff, 0x93));
    set_descriptor(c, sel::fresh_data, make_descriptor(0, 0xfffff, 0xc092));
    set_descriptor(c, sel::absent_ldt, make_descriptor(ldt_at, 0x7, 0x02));
    set_descriptor(c, sel::call_gate, make_descriptor(0, 0, 0x8c));
    c.ram.put(ldt_at, 8, make_descriptor(0x1000, 0xfffff, 0xc093));
    c.cr[0] = x86::cr0::pe;
    c[x86::segment_name::cs].selector = sel::code;
    for (auto const name : {x86::segment_name::es, x86::segment_name::ss, x86::segment_name::ds, x86::segment_name::fs,
                            x86::segment_name::gs})
        c[name].selector = sel::data;
    c[x86::segment_name::tr] = {.base = old_tss_at, .limit = 0x67, .access = 0x8b, .selector = sel::old_task};
    c[x86::segment_name::ldtr] = {.access = x86::segment_access::unusable};
    for (unsigned i{0}; i < 8; ++i)
        c[static_cast<x86::gpr>(i)] = 0x01010100u * (i + 1);
    c.set_rflags(0x246);
    c.dr[7] = 0x7ff;
    if ((new_type & 8) != 0) {
        c.ram.put(new_tss_at + tss_32::eip, 4, 0x12345678);
        c.ram.put(new_tss_at + tss_32::eflags, 4, 0x203);
        for (unsigned i{0}; i < 8; ++i)
            c.ram.put(new_tss_at + tss_32::eax + 4 * i, 4, 0xa0a0a000u + i);
        c.ram.put(new_tss_at + tss_32::esp, 4, data_page + 0x400);
        for (auto const at : {tss_32::es, tss_32::ss, tss_32::ds, tss_32::fs, tss_32::gs})
            c.ram.put(new_tss_at + at, 2, sel::data);
        c.ram.put(new_tss_at + tss_32::cs, 2, sel::code);
    } else {
        c.ram.put(new_tss_at + tss_16::ip, 2, 0x1234);
        c.ram.put(new_tss_at + tss_16::flags, 2, 0x203);
        for (unsigned i{0}; i < 8; ++i)
            c.ram.put(new_tss_at + tss_16::ax + 2 * i, 2, 0xa000u + i);
        c.ram.put(new_tss_at + tss_16::sp, 2, 0x400);
        c.ram.put(new_tss_at + tss_16::ss, 2, sel::narrow_data);
        for (auto const at : {tss_16::es, tss_16::ds})
            c.ram.put(new_tss_at + at, 2, sel::data);
        c.ram.put(new_tss_at + tss_16::cs, 2, sel::code);
    }
    return c;
}

/// A switch to the new task, two bytes behind the old one's RIP.
[[nodiscard]] inline auto request(tasking_cpu& c, exits::task_switch::source reason) -> task_switch_request {
    return {.selector = sel::new_task,
            .reason = reason,
            .next_eip = static_cast<std::uint32_t>(c.rip() + 2),
            .eflags = static_cast<std::uint32_t>(c.rflags())};
}

/// All of the model's memory that a switch may touch.
[[nodiscard]] inline auto tables_of(tasking_cpu& c) -> std::vector<std::uint64_t> {
    std::vector<std::uint64_t> words;
    for (auto at = gdt_at; at < new_tss_at + 0x1000; at += 8)
        words.push_back(c.ram.get(at, 8));
    return words;
}

} // namespace hv::test
