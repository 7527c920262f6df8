// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/executor.hpp>

#include <cstdint>

namespace hv::detail {

/// How many elements of a REP string are done before the processor may look for interrupts again.
inline constexpr unsigned elements_at_once{1024};

/// One element of a string instruction. On an obstacle nothing has changed but devices that were already asked.
template <emulation_cpu Cpu>
[[gnu::cold]] auto string_element(executor<Cpu>& e) -> obstacle {
    using enum operation;
    auto const& i = e.i;
    auto const size = i.operand_size;
    auto const reads_source = i.op == movs or i.op == cmps or i.op == lods or i.op == outs;
    auto const reads_destination = i.op == cmps or i.op == scas;
    auto const writes_destination = i.op == movs or i.op == stos or i.op == ins;
    auto const source_offset = e.gpr(x86::gpr::rsi, i.address_size);
    auto const destination_offset = e.gpr(x86::gpr::rdi, i.address_size);
    auto const port = static_cast<std::uint16_t>(e.gpr(x86::gpr::rdx, 2));

    place source{};
    place destination{};
    if (reads_source)
        if (auto const stop = e.locate(i.memory.segment, source_offset, size, access::read, source))
            return stop;
    if (reads_destination or writes_destination)
        if (auto const stop = e.locate(x86::segment_name::es, destination_offset, size,
                                       writes_destination ? access::write : access::read, destination))
            return stop;

    auto value = e.gpr(x86::gpr::rax, size);
    if (reads_source)
        value = read(e.cpu, source);
    else if (i.op == ins)
        value = e.cpu.read_port(port, size);
    if (is_pending(e.cpu))
        return e.wait;
    auto other = std::uint64_t{};
    if (writes_destination)
        write(e.cpu, destination, arithmetic::truncate(value, size));
    else if (reads_destination)
        other = read(e.cpu, destination);
    else if (i.op == outs)
        e.cpu.write_port(port, size, static_cast<std::uint32_t>(value));
    if (is_pending(e.cpu))
        return e.wait;

    if (i.op == lods)
        e.set_gpr(x86::gpr::rax, size, value);
    if (reads_destination)
        e.set_status_flags(arithmetic::subtract(value, other, false, size).flags);
    std::uint64_t const step{(e.flags & x86::rflags::df) != 0 ? 0 - std::uint64_t{size} : size};
    if (reads_source)
        e.set_gpr(x86::gpr::rsi, i.address_size, source_offset + step);
    if (reads_destination or writes_destination)
        e.set_gpr(x86::gpr::rdi, i.address_size, destination_offset + step);
    return {};
}

/// A string instruction with its repetition. Every complete element is in the registers, whatever stops the rest; but
/// a fault leaves the flags of before the instruction. SDM Vol. 2B, "REP/REPE/REPZ/REPNE/REPNZ".
template <emulation_cpu Cpu>
[[gnu::cold]] auto string_instruction(executor<Cpu>& e) -> obstacle {
    auto const& i = e.i;
    if (i.repeat == repeat_prefix::none)
        return string_element(e);
    auto count = e.gpr(x86::gpr::rcx, i.address_size);
    if (count == 0)
        return {};
    auto const compares = i.op == operation::cmps or i.op == operation::scas;
    auto const single_step = (e.flags & x86::rflags::tf) != 0;
    auto const most = single_step ? 1 : elements_at_once;
    while (e.elements < most and e.breakpoints == 0) { // the trap of a breakpoint comes behind its element
        if (auto const stop = string_element(e)) {
            e.breakpoints = 0; // this element is not complete, and those before it met none
            return stop;
        }
        ++e.elements;
        e.set_gpr(x86::gpr::rcx, i.address_size, --count);
        if (count == 0)
            return {};
        auto const equal = (e.flags & x86::rflags::zf) != 0;
        if (compares and equal != (i.repeat == repeat_prefix::while_equal))
            return {};
        e.commit();
    }
    // As an interrupt between two elements would: an instruction breakpoint on it must not hit again.
    e.cpu.set_rflags(e.flags | x86::rflags::rf);
    return {outcome_kind::again};
}

} // namespace hv::detail
