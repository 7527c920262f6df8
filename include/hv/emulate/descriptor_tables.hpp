// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/execute.hpp>
#include <hv/emulate/task_segments.hpp>

#include <concepts>
#include <cstdint>

namespace hv {

/// What the descriptor-table instructions need of a virtual processor beyond what others need.
template <typename C>
concept descriptor_table_cpu = task_cpu<C> and requires(C& cpu, C const& constant, x86::descriptor_table const& table) {
    { cpu.set_gdtr(table) } -> std::same_as<void>;
    { constant.idtr() } -> std::same_as<x86::descriptor_table>;
    { cpu.set_idtr(table) } -> std::same_as<void>;
};

namespace detail {

/// LGDT, LIDT, SGDT and SIDT. The processor takes limit and base of the pseudo-descriptor each for itself: SDM Vol. 3A,
/// "Segment Descriptor Tables", on their alignment.
template <descriptor_table_cpu Cpu>
[[gnu::cold]] auto move_table_register(executor<Cpu>& e) -> obstacle {
    using enum operation;
    auto const& i = e.i;
    bool const loads{i.op == lgdt or i.op == lidt};
    if ((loads or (e.cpu.cr4() & x86::cr4::umip) != 0) and e.cpu.cpl() != 0)
        return obstacle::general_protection();
    bool const wide{e.mode == code_size::bits_64};
    auto const wanted = loads ? access::read : access::write;
    auto const offset = e.effective_address();
    place limit_at{}, base_at{};
    if (auto const stop = e.locate(i.memory.segment, offset, 2, wanted, limit_at))
        return stop;
    if (auto const stop = e.locate(i.memory.segment, offset + 2, wide ? 8 : 4, wanted, base_at))
        return stop;
    if (not loads) {
        auto const table = i.op == sgdt ? e.cpu.gdtr() : e.cpu.idtr();
        write(e.cpu, limit_at, table.limit);
        if (not is_pending(e.cpu))
            write(e.cpu, base_at, wide ? table.base : table.base & 0xffff'ffff);
        return is_pending(e.cpu) ? e.wait : obstacle{};
    }
    auto const limit = read(e.cpu, limit_at);
    auto base = is_pending(e.cpu) ? 0 : read(e.cpu, base_at);
    if (is_pending(e.cpu))
        return e.wait;
    if (wide) {
        if (not is_canonical(base))
            return obstacle::general_protection();
    } else if (i.operand_size == 2) {
        base &= 0xff'ffff;
    }
    x86::descriptor_table const table{.base = base, .limit = static_cast<std::uint16_t>(limit)};
    if (i.op == lgdt)
        e.cpu.set_gdtr(table);
    else
        e.cpu.set_idtr(table);
    return {};
}

/// Finds the descriptor of a system segment in the GDT: eight bytes, sixteen in IA-32e mode. SDM Vol. 3A, "System
/// Segment Descriptors".
template <descriptor_table_cpu Cpu>
[[gnu::cold]] auto find_system_segment(Cpu& cpu, std::uint16_t selector, access wanted, found_descriptor& found)
    -> obstacle {
    auto const wrong = obstacle::fault(x86::exception::general_protection, x86::selector::error_code(selector));
    bool const wide{(cpu.efer() & x86::efer::lma) != 0};
    unsigned const size{wide ? 16u : 8u};
    auto const table = cpu.gdtr();
    auto const offset = x86::selector::offset(selector);
    auto const linear = table.base + offset;
    if ((selector & x86::selector::local) != 0 or offset + size - 1 > table.limit)
        return wrong;
    if (wide and not(is_canonical(linear) and is_canonical(linear + size - 1)))
        return obstacle::general_protection();
    if (auto const stop = found.bytes.find(cpu, system_paging_of(cpu), linear, size, wanted))
        return stop;
    found.segment = x86::segment_of(found.bytes.read(0, 8), selector);
    if (not wide)
        return {};
    constexpr std::uint64_t upper_type{0x1full << 40};
    auto const upper = found.bytes.read(8, 8);
    found.segment.base |= upper << 32;
    return (upper & upper_type) != 0 or not is_canonical(found.segment.base) ? wrong : obstacle{};
}

/// What LLDT and LTR do once they have their selector.
template <descriptor_table_cpu Cpu>
[[gnu::cold]] auto load_system_segment(Cpu& cpu, std::uint16_t selector, bool task) -> obstacle {
    namespace bit = x86::segment_access;
    auto const name = task ? x86::segment_name::tr : x86::segment_name::ldtr;
    if (x86::selector::is_null(selector)) {
        if (task)
            return obstacle::general_protection();
        cpu.set_segment(name, {.access = bit::unusable, .selector = selector});
        return {};
    }
    found_descriptor d{};
    if (auto const stop = find_system_segment(cpu, selector, access::read, d))
        return stop;
    auto const type = d.segment.access & (bit::type | bit::not_system);
    bool const wide{(cpu.efer() & x86::efer::lma) != 0};
    bool const fits{task ? type == x86::system_type::tss_32 or (type == x86::system_type::tss_16 and not wide)
                         : type == x86::system_type::ldt};
    if (not fits)
        return obstacle::fault(x86::exception::general_protection, x86::selector::error_code(selector));
    if ((d.segment.access & bit::present) == 0)
        return obstacle::fault(x86::exception::segment_not_present, x86::selector::error_code(selector));
    if (task) {
        found_descriptor again{};
        if (auto const stop = find_system_segment(cpu, selector, access::write, again))
            return stop;
        again.bytes.set_bits(cpu.memory(), found_descriptor::access_byte, x86::system_type::busy);
        d.segment.access |= x86::system_type::busy;
    }
    cpu.set_segment(name, d.segment);
    return {};
}

/// LLDT, LTR, SLDT and STR.
template <descriptor_table_cpu Cpu>
[[gnu::cold]] auto move_system_segment(executor<Cpu>& e) -> obstacle {
    using enum operation;
    auto const& i = e.i;
    bool const loads{i.op == lldt or i.op == ltr};
    if (not has_protection(e.cpu))
        return obstacle::undefined();
    if ((loads or (e.cpu.cr4() & x86::cr4::umip) != 0) and e.cpu.cpl() != 0)
        return obstacle::general_protection();
    if (e.is_memory(i.destination))
        if (auto const stop = e.locate_operand(e.effective_address(), 2, loads ? access::read : access::write))
            return stop;
    if (not loads) {
        e.store(i.destination, e.cpu.segment(i.op == str ? x86::segment_name::tr : x86::segment_name::ldtr).selector);
        return is_pending(e.cpu) ? e.wait : obstacle{};
    }
    auto const selector = static_cast<std::uint16_t>(e.load(i.destination));
    return is_pending(e.cpu) ? e.wait : load_system_segment(e.cpu, selector, i.op == ltr);
}

} // namespace detail

/// Executes LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT or STR at CS:RIP once. If another instruction stands there by now,
/// the answer is `again`. SDM Vol. 2, the pages of these instructions.
template <descriptor_table_cpu Cpu>
[[gnu::cold]] auto descriptor_table_instruction(Cpu& cpu) -> outcome {
    using enum operation;
    auto const mode = detail::code_size_of(cpu);
    auto const f = detail::fetch(cpu, mode);
    if (f.stop)
        return detail::stopped(f.stop, f.instruction, f.bytes);
    auto const& i = f.instruction;
    if (i.status != decode_status::ok or i.op < sldt or i.op > lidt)
        return detail::stopped({outcome_kind::again}, i, f.bytes);
    return detail::run(cpu, i, mode, f.bytes, [](detail::executor<Cpu>& e) {
        return e.i.op >= sgdt ? detail::move_table_register(e) : detail::move_system_segment(e);
    });
}

} // namespace hv
