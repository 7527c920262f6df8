// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/fetch.hpp>
#include <hv/emulate/task_switch.hpp>
#include <hv/emulated_cpu.hpp>
#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/stop.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/exception.hpp>

#include <cstdint>

namespace hv {

/// Switches the tasks of a virtual processor that exited for it, and says what exception follows. The event that came
/// through a task gate, if one did, is delivered by the switch itself. Tables outside memory end the machine.
template <typename Vcpu>
[[gnu::cold]] auto serve_task_switch(Vcpu& cpu, exits::task_switch const& exit) -> obstacle {
    auto& hardware = cpu.hardware();
    auto& events = cpu.events();
    emulated_cpu<Vcpu> emulated{cpu};
    auto const cause = events.interrupted();
    auto next = hardware.rip();
    if (not cause.valid()) { // an instruction is: CALL, JMP, IRET or INTn
        auto length = hardware.instruction_length();
        if (length == 0) {
            auto const found = instruction_length(emulated);
            if (found.stop) [[unlikely]]
                return found.stop;
            length = found.length;
        }
        next += length;
    }
    // INTn, INT3 and INTO that somebody injected behind their instruction are the program's own too.
    bool const external{cause.valid() and cause.type() != event_type::software_interrupt and
                        cause != event::make(x86::exception::breakpoint) and
                        cause != event::make(x86::exception::overflow)};
    auto const flags = hardware.rflags() & ~x86::rflags::rf;
    auto const result =
        switch_task(emulated, {.selector = exit.selector,
                               .reason = exit.reason,
                               .next_eip = static_cast<std::uint32_t>(next),
                               .eflags = static_cast<std::uint32_t>(flags | (exit.resume_flag ? x86::rflags::rf : 0)),
                               .external = external,
                               .has_error_code = exit.has_error_code,
                               .error_code = exit.error_code});
    auto const kind = result.stop.kind;
    if (kind == outcome_kind::unsupported or (result.committed and kind == outcome_kind::again)) [[unlikely]] {
        cpu.machine().stop(
            {.kind = stop_kind::outside_memory, .text = "a task state segment or descriptor", .code = exit.selector},
            cpu.id());
        return {};
    }
    if (result.committed) {
        static_cast<void>(events.set_interrupted({}));
        if (cause.valid() and cause.type() == event_type::nmi)
            hardware.set_nmi_blocked(true);
        else if (exit.reason == exits::task_switch::source::iret)
            hardware.set_nmi_blocked(false);
        hardware.set_interrupt_shadow(false);
    }
    return result.stop;
}

} // namespace hv
