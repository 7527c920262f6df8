// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/emulate/execute.hpp>
#include <hv/emulate/plain_move.hpp>
#include <hv/emulated_cpu.hpp>
#include <hv/exit_services.hpp>
#include <hv/vcpu_reset.hpp>

#include <cstdint>

/// How a virtual processor gets behind an instruction that was served.
namespace hv {

/// RIP behind the instruction of an intercept, where exit or processor say it, else 0.
template <typename Vcpu, typename Exit>
[[nodiscard, gnu::always_inline]] inline auto end_of_instruction([[maybe_unused]] Vcpu& cpu,
                                                                 [[maybe_unused]] Exit const& exit) -> std::uint64_t {
    if constexpr (requires { exit.next_rip; })
        return exit.next_rip;
    else if constexpr (requires { cpu.hardware().end_of_instruction(); })
        return cpu.hardware().end_of_instruction();
    else
        return 0;
}

/// The same of any exit.
template <typename Vcpu>
[[nodiscard, gnu::always_inline]] inline auto next_rip(Vcpu& cpu) -> std::uint64_t {
    auto& hardware = cpu.hardware();
    if constexpr (requires { hardware.next_rip(); })
        return hardware.next_rip();
    auto const length = hardware.instruction_length();
    return length != 0 ? hardware.rip() + length : 0;
}

/// Moves behind the instruction that exited, where neither the processor nor a glance tells its length.
template <typename Vcpu>
[[gnu::noinline]] void step_over_decoded(Vcpu& cpu) {
    emulated_cpu<Vcpu> emulated{cpu};
    auto const found = instruction_length(emulated);
    if (not found.stop) [[likely]]
        return finish_instruction(cpu.hardware(), cpu.rip() + found.length, cpu.events());
    conclude(cpu,
             {.kind = found.stop.kind, .exception = found.stop.exception, .qualification = found.stop.qualification});
}

/// Moves behind the instruction that exited.
template <typename Vcpu>
[[gnu::always_inline]] inline void step_over(Vcpu& cpu) {
    auto& hardware = cpu.hardware();
    if constexpr (knows_opcodes<typename Vcpu::hardware_type>) // an opcode here means that the processor does not say
        if (auto const opcode = hardware.opcode_length(); opcode != 0) [[likely]] {
            emulated_cpu<Vcpu> emulated{cpu};
            if (auto const length = instruction_length_at_once(emulated, opcode); length != 0) [[likely]] {
                retire_instruction(hardware, cpu.rip() + length, cpu.events()); // 64-bit code
                return;
            }
        }
    if (auto const next = next_rip(cpu); next != 0)
        return finish_instruction(hardware, next, cpu.events());
    step_over_decoded(cpu);
}

} // namespace hv
