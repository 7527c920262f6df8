// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/executor.hpp>

#include <cstdint>

namespace hv::detail {

/// How wide the stack pointer is. SDM Vol. 1, "Address-Size Attribute for Stack".
template <emulation_cpu Cpu>
[[nodiscard]] auto stack_width(executor<Cpu> const& e) -> unsigned {
    if (e.mode == code_size::bits_64)
        return 8;
    return (e.cpu.segment(x86::segment_name::ss).access & x86::segment_access::default_big) != 0 ? 4 : 2;
}

template <emulation_cpu Cpu>
[[gnu::cold]] auto push(executor<Cpu>& e) -> obstacle {
    auto const& i = e.i;
    if (e.is_memory(i.source))
        if (auto const stop = e.locate_operand(e.effective_address(), i.source.size, access::read))
            return stop;
    auto const width = stack_width(e);
    auto const top = arithmetic::truncate(e.gpr(x86::gpr::rsp, width) - i.operand_size, width);
    place stack{};
    if (auto const stop = e.locate(x86::segment_name::ss, top, i.operand_size, access::write, stack))
        return stop;
    auto const value = e.load(i.source);
    if (is_pending(e.cpu))
        return e.wait;
    write(e.cpu, stack, value);
    if (is_pending(e.cpu))
        return e.wait;
    e.set_gpr(x86::gpr::rsp, width, top);
    return {};
}

/// A destination that names rSP, as register or as base, sees it already incremented. SDM Vol. 2B, "POP".
template <emulation_cpu Cpu>
[[gnu::cold]] auto pop(executor<Cpu>& e) -> obstacle {
    auto const& i = e.i;
    auto const width = stack_width(e);
    auto const top = e.gpr(x86::gpr::rsp, width);
    auto const above = arithmetic::truncate(top + i.operand_size, width);
    place stack{};
    if (auto const stop = e.locate(x86::segment_name::ss, top, i.operand_size, access::read, stack))
        return stop;
    if (e.is_memory(i.destination)) {
        auto const pointer = width == 2 ? (e.gpr(x86::gpr::rsp, 8) & ~0xffffull) | above : above;
        if (auto const stop = e.locate_operand(e.effective_address(pointer), i.destination.size, access::write))
            return stop;
    }
    auto const value = read(e.cpu, stack);
    if (is_pending(e.cpu))
        return e.wait;
    if (e.is_memory(i.destination)) {
        e.store(i.destination, value);
        if (is_pending(e.cpu))
            return e.wait;
    }
    e.set_gpr(x86::gpr::rsp, width, above);
    if (not e.is_memory(i.destination))
        e.store(i.destination, value);
    return {};
}

} // namespace hv::detail
