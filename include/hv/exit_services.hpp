// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/device_context.hpp>
#include <hv/emulate/descriptor_tables.hpp>
#include <hv/emulate/execute.hpp>
#include <hv/emulate/plain_move.hpp>
#include <hv/emulated_cpu.hpp>
#include <hv/exit.hpp>
#include <hv/memory/mapping.hpp>
#include <hv/port_access.hpp>
#include <hv/run_requests.hpp>
#include <hv/stop.hpp>
#include <hv/user_state.hpp>
#include <hv/vcpu_apic.hpp>
#include <hv/vcpu_delivery.hpp>
#include <hv/vcpu_reset.hpp>
#include <hv/vcpu_shared.hpp>
#include <hv/vcpu_tasks.hpp>
#include <hv/x86/apic.hpp>
#include <hv/x86/control_checks.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>
#include <utility>

namespace hv {

/// Gives the guest what an emulated instruction led to. An instruction that the emulator does not know ends the
/// machine.
template <typename Vcpu>
void conclude(Vcpu& cpu, outcome const& result) {
    if (result.kind == outcome_kind::fault) [[unlikely]] {
        if (result.exception == event::make(x86::exception::debug))
            note_debug_exception(cpu.hardware(), result.qualification);
        else if (result.exception.vector() == static_cast<std::uint8_t>(x86::exception::page_fault))
            cpu.hardware().set_cr2(result.qualification);
        cpu.raise(result.exception);
    } else if (result.kind == outcome_kind::unsupported) [[unlikely]] {
        cpu.machine().stop({.kind = stop_kind::unsupported_instruction, .instruction = result.instruction}, cpu.id());
    } else if (result.single_step or result.breakpoints != 0) [[unlikely]] {
        raise_debug_trap(cpu.hardware(), cpu.events(),
                         result.breakpoints | (result.single_step ? single_step_cause : 0));
    }
}

/// The built-in service of each exit. One function an exit; each says what the guest sees.
template <typename Vcpu>
class exit_services {
  public:
    explicit exit_services(Vcpu& processor) : cpu_{processor} {}

    [[gnu::always_inline]] auto on(exits::io_port const& exit) -> verdict {
        if (exit.string) [[unlikely]] {
            auto const copy = exit; // in memory, where the others need not be
            return on_string(cpu_, copy);
        }
        if (exit.size == 1)
            on_byte(exit);
        else
            on_wide(exit);
        return verdict::advance;
    }

    [[gnu::always_inline]] auto on(exits::cpuid const&) -> verdict {
        auto const function = static_cast<std::uint32_t>(cpu_.gpr(x86::gpr::rax));
        if (auto const& leaf = cpu_.cpuid().candidate(function); leaf.at_once == function) [[likely]]
            set_cpuid(cpu_, leaf.values);
        else
            answer_cpuid(cpu_, function);
        return verdict::advance;
    }

    /// Sleeps until something wakes the guest. If nothing ever can, the machine is at its end.
    auto on(exits::hlt const&) -> verdict {
        if (not event_delivery<Vcpu>{cpu_}.has_wake_up() and not sleep())
            return verdict::resume;
        if constexpr (knows_opcodes<typename Vcpu::hardware_type>) {
            constexpr std::byte hlt{0xf4};
            auto const* const code = emulated_cpu<Vcpu>{cpu_}.recent_code();
            if (code != nullptr and *code == hlt) [[likely]] {
                retire_instruction(cpu_.hardware(), cpu_.rip() + 1, cpu_.events());
                return verdict::resume;
            }
        }
        return verdict::advance;
    }

    [[gnu::always_inline]] auto on(exits::msr_read const& exit) -> verdict {
        std::uint64_t value{};
        if (not std::as_const(cpu_.local()).read_msr_at_once(exit.index, value)) {
            auto const found = read_msr(cpu_, exit.index);
            if (not found) [[unlikely]] {
                ++cpu_.stats().refused_msrs;
                cpu_.raise_gp();
                return verdict::resume;
            }
            value = found.value;
        }
        cpu_.set_gpr(x86::gpr::rax, value & 0xffffffff);
        cpu_.set_gpr(x86::gpr::rdx, value >> 32);
        return verdict::advance;
    }

    [[gnu::always_inline]] auto on(exits::msr_write const& exit) -> verdict {
        if (not write_msr_at_once(exit) and not write_msr(cpu_, exit.index, exit.value)) [[unlikely]] {
            ++cpu_.stats().refused_msrs;
            cpu_.raise_gp();
            return verdict::resume;
        }
        return verdict::advance;
    }

    /// Memory not yet mapped is mapped; everything else is a device access, or nobody's.
    auto on(exits::nested_page_fault const& exit) -> verdict {
        switch (cpu_.machine().memory().fault(cpu_.host(), exit.address, exit.wanted)) {
        case fault_outcome::mapped:
            return verdict::resume;
        case fault_outcome::out_of_memory:
            return stop(stop_kind::out_of_memory, "", exit.address.value);
        default:
            break;
        }
        if (includes(exit.wanted, access::execute)) {
            // Code outside memory: the bus reads as ones, and FFh FFh is not an instruction.
            cpu_.raise(x86::exception::invalid_opcode);
            return verdict::resume;
        }
        if (exit.page_walk)
            return stop(stop_kind::outside_memory, "a guest page table", exit.address.value);
        if (cpu_.events().interrupted().valid())
            return stop(stop_kind::outside_memory, "a stack or descriptor that event delivery needs",
                        exit.address.value);
        return access_device(exit);
    }

    auto on(exits::control_register const& exit) -> verdict {
        if (exit.decoded and exit.write and exit.kind == exits::control_register::form::mov) {
            auto const value = cpu_.gpr(exit.source); // upper halves of registers outlive 64-bit mode
            if (write_control_register(cpu_, exit.number, is_64_bit(cpu_.hardware()) ? value : value & 0xffff'ffff))
                return verdict::advance;
            cpu_.raise_gp();
            return verdict::resume;
        }
        return emulate_instruction();
    }

    auto on(exits::debug_register const&) -> verdict { return emulate_instruction(); }

    auto on(exits::descriptor_table const&) -> verdict {
        ++cpu_.stats().emulated_instructions;
        emulated_cpu<Vcpu> emulated{cpu_};
        return finish(descriptor_table_instruction(emulated));
    }

    /// Intercepted only to keep the processor from looping in delivery, or for a user's handler: the guest gets it
    /// back.
    auto on(exits::exception const& exit) -> verdict {
        if (exit.vector == x86::exception::breakpoint or exit.vector == x86::exception::overflow) [[unlikely]] {
            // Traps of an instruction that has not moved RIP yet.
            emulated_cpu<Vcpu> emulated{cpu_};
            auto const found = instruction_length(emulated);
            if (found.stop)
                return finish(found.stop);
            auto const next = cpu_.rip() + found.length;
            cpu_.set_rip(is_64_bit(cpu_.hardware()) ? next : next & 0xffff'ffff);
        }
        if (exit.vector == x86::exception::page_fault)
            cpu_.hardware().set_cr2(exit.qualification);
        else if (exit.vector == x86::exception::debug)
            note_debug_exception(cpu_.hardware(), exit.qualification);
        cpu_.raise(x86::has_error_code(exit.vector) ? event::make(exit.vector, exit.error_code)
                                                    : event::make(exit.vector));
        return verdict::resume;
    }

    [[gnu::always_inline]] auto on(exits::hypercall const&) -> verdict {
        if constexpr (Vcpu::answers_hypercalls) {
            cpu_.set_gpr(x86::gpr::rax, ~std::uint64_t{0});
            return verdict::advance;
        } else {
            return undefined();
        }
    }

    auto on(exits::undefined_instruction const&) -> verdict { return undefined(); }
    auto on(exits::monitor const&) -> verdict { return undefined(); }
    auto on(exits::mwait const&) -> verdict { return undefined(); }
    /// Where XSAVE is hidden, CR4.OSXSAVE is never set. Bochs exits before it checks CPL.
    auto on(exits::xsetbv const& exit) -> verdict {
        if ((cpu_.hardware().cr4() & x86::cr4::osxsave) == 0)
            return undefined();
        if (cpu_.hardware().cpl() == 0 and write_extended_control_register(cpu_, exit.index, exit.value))
            return verdict::advance;
        cpu_.raise_gp();
        return verdict::resume;
    }
    auto on(exits::rdpmc const&) -> verdict {
        cpu_.raise_gp();
        return verdict::resume;
    }

    auto on(exits::cache_control const&) -> verdict { return verdict::advance; } // memory is coherent without it
    auto on(exits::pause const&) -> verdict {
        if constexpr (Vcpu::is_parallel)
            cpu_.host().give_way();
        return verdict::advance;
    }

    auto on(exits::tsc_read const& exit) -> verdict {
        bool const with_aux{exit.with_aux or is_rdtscp()};
        if (with_aux and not has_rdtscp(cpu_.cpuid()))
            return undefined();
        auto const tsc = cpu_.guest_tsc();
        cpu_.set_gpr(x86::gpr::rax, tsc & 0xffffffff);
        cpu_.set_gpr(x86::gpr::rdx, tsc >> 32);
        if (with_aux)
            cpu_.set_gpr(x86::gpr::rcx, cpu_.tsc_aux());
        return verdict::advance;
    }

    auto on(exits::apic_write const& exit) -> verdict {
        write_apic(cpu_, exit.offset, exit.value);
        return verdict::resume; // the instruction is over
    }
    auto on(exits::end_of_interrupt const& exit) -> verdict {
        cpu_.machine().end_of_interrupt(exit.vector);
        return verdict::resume;
    }

    auto on(exits::interrupt_window const&) -> verdict { return verdict::resume; }
    auto on(exits::nmi_window const&) -> verdict { return verdict::resume; }

    auto on(exits::host_interrupt const&) -> verdict {
        cpu_.service();
        return resume_or_yield();
    }

    auto on(exits::deadline const&) -> verdict {
        cpu_.end_stay();
        return resume_or_yield();
    }

    auto on(exits::machine_check const&) -> verdict { return stop(stop_kind::machine_check); }
    auto on(exits::task_switch const& exit) -> verdict { return finish(serve_task_switch(cpu_, exit)); }
    auto on(exits::triple_fault const&) -> verdict { return stop(stop_kind::triple_fault); }
    /// QEMU's TCG reports a MOV to CR3 with reserved bits this way instead of raising #GP. The instruction at RIP
    /// tells such a guest's mistake from a broken state.
    auto on(exits::entry_failed const& exit) -> verdict {
        emulated_cpu<Vcpu> emulated{cpu_};
        if (is_control_register_move_at_rip(emulated))
            if (auto const result = step(emulated); result.kind == outcome_kind::fault) {
                conclude(cpu_, result);
                return verdict::resume;
            }
        return stop(stop_kind::entry_failed, exit.reason);
    }
    auto on(exits::isolation_broken const& exit) -> verdict { return stop(stop_kind::isolation_broken, exit.reason); }
    auto on(exits::unknown const& exit) -> verdict {
        cpu_.machine().stop({.kind = stop_kind::unknown_exit,
                             .code = exit.code,
                             .information = {exit.information[0], exit.information[1]}},
                            cpu_.id());
        return verdict::leave;
    }

  private:
    [[gnu::always_inline]] void on_byte(exits::io_port const& exit) {
        if (exit.in) {
            auto const value = read_port_byte(cpu_, exit.port);
            cpu_.set_gpr(x86::gpr::rax, (cpu_.gpr(x86::gpr::rax) & ~std::uint64_t{0xff}) | value);
        } else {
            write_port_byte(cpu_, exit.port, static_cast<std::uint8_t>(cpu_.gpr(x86::gpr::rax)));
        }
    }
    [[gnu::always_inline]] void on_wide(exits::io_port const& exit) {
        auto const rax = cpu_.gpr(x86::gpr::rax);
        if (exit.in) {
            std::uint64_t const value{read_port(cpu_, exit.port, exit.size)};
            cpu_.set_gpr(x86::gpr::rax, exit.size == 2 ? (rax & ~std::uint64_t{0xffff}) | (value & 0xffff) : value);
        } else {
            auto const mask = 0xffffffffu >> (32 - 8 * exit.size);
            write_port(cpu_, exit.port, exit.size, static_cast<std::uint32_t>(rax) & mask);
        }
    }

    /// Back into the guest, unless another vCPU should have the host's processor.
    [[nodiscard, gnu::always_inline]] auto resume_or_yield() -> verdict {
        if constexpr (Vcpu::is_parallel)
            if (cpu_.host().should_yield())
                cpu_.requests().ask(run_end::yield);
        return verdict::resume;
    }

    /// False: the guest was called away before anything woke it, and halts again when it comes back.
    [[nodiscard, gnu::cold, gnu::noinline]] auto sleep() -> bool {
        if constexpr (Vcpu::is_parallel) {
            cpu_.set_activity(vcpu_activity::halted); // RIP moves on, and `run` ends unless something came meanwhile
            return true;
        }
        auto& machine = cpu_.machine();
        event_delivery<Vcpu> delivery{cpu_};
        do {
            if (not delivery.may_wake()) {
                machine.note_halt();
            }
            if (cpu_.requests().must_leave())
                return false;
            cpu_.arm_timer();
            cpu_.change_to(user_state::idle);
            cpu_.host().idle();
            cpu_.change_to(user_state::emu_kern);
            cpu_.service();
            if (cpu_.requests().must_leave())
                return false;
        } while (not delivery.has_wake_up());
        return true;
    }

    [[nodiscard, gnu::always_inline]] auto write_msr_at_once(exits::msr_write const& exit) -> bool {
        processor_context context{cpu_};
        if constexpr (Vcpu::is_parallel and Vcpu::has_lapic) // who has others to speak to does it often
            if (exit.index == x86::msr::x2apic_first + static_cast<unsigned>(x86::apic::reg::interrupt_command))
                return cpu_.apic().write_command(context, exit.value);
        return cpu_.local().write_msr_at_once(context, exit.index, exit.value);
    }

    [[gnu::always_inline]] static void set_cpuid(Vcpu& cpu, x86::cpuid_result const& values) {
        cpu.set_gpr(x86::gpr::rax, values.eax);
        cpu.set_gpr(x86::gpr::rbx, values.ebx);
        cpu.set_gpr(x86::gpr::rcx, values.ecx);
        cpu.set_gpr(x86::gpr::rdx, values.edx);
    }
    [[gnu::noinline]] static void answer_cpuid(Vcpu& cpu, std::uint32_t function) {
        set_cpuid(cpu, read_cpuid(cpu, function, static_cast<std::uint32_t>(cpu.gpr(x86::gpr::rcx))));
    }

    [[nodiscard, gnu::noinline]] static auto on_string(Vcpu& cpu, exits::io_port const& exit) -> verdict {
        emulated_cpu<Vcpu> emulated{cpu};
        return exit_services{cpu}.finish(string_io(emulated, exit));
    }

    /// For processors that do not tell RDTSCP from RDTSC: they give no instruction length either.
    [[nodiscard]] auto is_rdtscp() -> bool {
        if (cpu_.hardware().instruction_length() != 0)
            return false;
        emulated_cpu<Vcpu> emulated{cpu_};
        auto const found = detail::fetch(emulated, detail::code_size_of(emulated));
        return not found.stop and found.instruction.op == operation::rdtscp;
    }

    [[nodiscard]] auto undefined() -> verdict {
        cpu_.raise(x86::exception::invalid_opcode);
        return verdict::resume;
    }

    [[nodiscard, gnu::cold, gnu::noinline]] auto stop(stop_kind kind, char const* text = "", std::uint64_t code = 0)
        -> verdict {
        cpu_.machine().stop({.kind = kind, .text = text, .code = code}, cpu_.id());
        return verdict::leave;
    }

    [[nodiscard, gnu::noinline]] auto access_device(exits::nested_page_fault const& exit) -> verdict {
        if constexpr (plain_move_cpu<emulated_cpu<Vcpu>>) {
            emulated_cpu<Vcpu> emulated{cpu_};
            if (auto const length = execute_plain_move(emulated, exit.address, exit.wanted); length != 0) [[likely]] {
                ++cpu_.stats().emulated_instructions;
                retire_instruction(cpu_.hardware(), cpu_.rip() + length, cpu_.events());
                return verdict::resume;
            }
        }
        return emulate_instruction();
    }

    [[nodiscard]] auto emulate_instruction() -> verdict {
        ++cpu_.stats().emulated_instructions;
        emulated_cpu<Vcpu> emulated{cpu_};
        return finish(step(emulated));
    }

    /// The emulator has moved RIP itself when it is done.
    [[nodiscard]] auto finish(outcome const& result) -> verdict {
        if (result.kind == outcome_kind::done and cpu_.hardware().interrupt_shadow())
            cpu_.hardware().set_interrupt_shadow(false);
        conclude(cpu_, result);
        return verdict::resume; // a machine that stopped is not entered again
    }

    [[nodiscard]] auto finish(obstacle const& stop) -> verdict {
        conclude(cpu_, {.kind = stop.kind, .exception = stop.exception, .qualification = stop.qualification});
        return verdict::resume;
    }

    Vcpu& cpu_;
};

} // namespace hv
