// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/executor.hpp>
#include <hv/emulate/fetch.hpp>
#include <hv/emulate/stack_instructions.hpp>
#include <hv/emulate/string_instructions.hpp>
#include <hv/emulate/system_instructions.hpp>
#include <hv/exit.hpp>

#include <cstdint>
#include <span>

namespace hv {

namespace detail {

template <emulation_cpu Cpu>
[[gnu::cold]] auto dispatch(executor<Cpu>& e) -> obstacle {
    using enum operation;
    auto const& i = e.i;
    switch (i.op) {
    case push:
        return detail::push(e);
    case pop:
        return detail::pop(e);
    case ins:
    case outs:
        if (auto const stop = check_ports(e, static_cast<std::uint16_t>(e.gpr(x86::gpr::rdx, 2)), i.operand_size))
            return stop;
        return string_instruction(e);
    case movs:
    case cmps:
    case stos:
    case lods:
    case scas:
        return string_instruction(e);
    case in:
    case out:
        return port_access(e);
    case mov_control:
        return move_control(e);
    case mov_debug:
        return move_debug(e);
    case clts:
    case lmsw:
    case smsw:
        return machine_status_word(e);
    case invlpg:
        return e.cpu.cpl() == 0 ? obstacle{} : obstacle::general_protection();
    case clflush:
        return e.locate_operand(e.effective_address(), 1, access::read);
    case fence:
    case pause:
    case nop:
        return {};
    case bextr:
        if (not has_protection(e.cpu))
            return obstacle::undefined(); // VEX needs protected mode
        break;
    default:
        if (i.op > btc)
            return {outcome_kind::unsupported};
    }
    return compute(e);
}

/// Runs one decoded instruction and says what became of it. `serve` does what is special about it.
template <emulation_cpu Cpu, typename Serve>
auto run(Cpu& cpu, decoded const& instruction, code_size mode, instruction_bytes const& bytes, Serve serve) -> outcome {
    executor<Cpu> e{cpu, instruction, mode};
    auto const single_step = (e.flags & x86::rflags::tf) != 0;
    obstacle const stop = serve(e);
    if (not stop)
        e.retire();
    auto const progress = not stop or (stop.kind == outcome_kind::again and e.elements != 0);
    return {.kind = stop.kind,
            .single_step = single_step and progress,
            .breakpoints = progress ? e.breakpoints : std::uint8_t{0},
            .length = instruction.length,
            .exception = stop.exception,
            .qualification = stop.qualification,
            .instruction = bytes};
}

[[nodiscard]] constexpr auto stopped(obstacle const& stop, decoded const& instruction, instruction_bytes const& bytes)
    -> outcome {
    return {.kind = stop.kind,
            .length = instruction.length,
            .exception = stop.exception,
            .qualification = stop.qualification,
            .instruction = bytes};
}

template <emulation_cpu Cpu>
auto run(Cpu& cpu, decoded const& instruction, code_size mode, instruction_bytes const& bytes) -> outcome {
    if (auto const stop = obstacle_of(instruction.status))
        return stopped(stop, instruction, bytes);
    return run(cpu, instruction, mode, bytes, [](executor<Cpu>& e) { return dispatch(e); });
}

} // namespace detail

/// Fetches, decodes and executes the instruction at CS:RIP once.
template <emulation_cpu Cpu>
auto step(Cpu& cpu) -> outcome {
    auto const mode = detail::code_size_of(cpu);
    auto const f = detail::fetch(cpu, mode);
    if (f.stop)
        return detail::stopped(f.stop, f.instruction, f.bytes);
    return detail::run(cpu, f.instruction, mode, f.bytes);
}

/// The same with the bytes that the processor delivered with the exit. Too few of them are fetched again.
template <emulation_cpu Cpu>
auto step(Cpu& cpu, std::span<std::uint8_t const> bytes) -> outcome {
    auto const mode = detail::code_size_of(cpu);
    instruction_bytes copy{};
    for (auto const byte : bytes.first(bytes.size() < longest_instruction ? bytes.size() : longest_instruction))
        copy.bytes[copy.count++] = byte;
    auto const instruction = decode(std::span{copy.bytes}.first(copy.count), mode);
    if (instruction.status == decode_status::truncated)
        return step(cpu);
    return detail::run(cpu, instruction, mode, copy);
}

/// Serves the exit of an INS or OUTS whose port the processor has already allowed. What the exit does not tell is
/// decoded from CS:RIP; if another instruction stands there by now, the answer is `again`. `length` is the
/// instruction's where the backend knows it.
template <emulation_cpu Cpu>
[[gnu::cold]] auto string_io(Cpu& cpu, exits::io_port const& io, std::uint8_t length = 0) -> outcome {
    auto const mode = detail::code_size_of(cpu);
    auto const told = length != 0 and io.address_size != 0 and (io.in or io.segment_known);
    detail::fetched f{};
    if (told) {
        f.instruction = {.status = decode_status::ok,
                         .op = io.in ? operation::ins : operation::outs,
                         .length = length,
                         .operand_size = static_cast<std::uint8_t>(io.size),
                         .address_size = static_cast<std::uint8_t>(io.address_size),
                         .repeat = io.rep ? repeat_prefix::while_equal : repeat_prefix::none};
        f.instruction.memory.segment = io.segment;
    } else {
        f = detail::fetch(cpu, mode);
        if (f.stop)
            return detail::stopped(f.stop, f.instruction, f.bytes);
        auto const& i = f.instruction;
        auto const same = i.status == decode_status::ok and i.op == (io.in ? operation::ins : operation::outs) and
                          i.operand_size == io.size and (i.repeat != repeat_prefix::none) == io.rep;
        if (not same)
            return detail::stopped({outcome_kind::again}, i, f.bytes);
    }
    return detail::run(cpu, f.instruction, mode, f.bytes,
                       [](detail::executor<Cpu>& e) { return detail::string_instruction(e); });
}

} // namespace hv
