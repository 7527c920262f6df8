// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/event_queue.hpp>
#include <hv/guest/start_state.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/memory_type.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>

/// Whole-register-file operations on the hardware state of a virtual processor, whatever the backend.
namespace hv {

/// The registers that INIT touches, as after power-on. SDM Vol. 3A, "IA-32 and Intel 64 Processor States Following
/// Power-up, Reset, or INIT".
template <typename Hardware>
void initialize_registers(Hardware& hardware) {
    using enum x86::segment_name;
    for (unsigned i{0}; i != x86::gpr_count; ++i)
        hardware.set_gpr(static_cast<x86::gpr>(i), 0);
    hardware.set_gpr(x86::gpr::rdx, 0x600);
    hardware.set_efer(0);
    hardware.set_cr0(0x60000010);
    hardware.set_cr2(0);
    hardware.set_cr3(0);
    hardware.set_cr4(0);
    hardware.set_rip(0xfff0);
    hardware.set_rflags(x86::rflags::fixed_one);
    for (unsigned i{0}; i != 4; ++i)
        hardware.set_debug_register(i, 0);
    hardware.set_debug_register(6, 0xffff0ff0);
    hardware.set_debug_register(7, 0x400);
    hardware.set_segment(cs, {.base = 0xffff0000, .limit = 0xffff, .access = 0x9b, .selector = 0xf000});
    for (auto const name : {es, ss, ds, fs, gs})
        hardware.set_segment(name, {.limit = 0xffff, .access = 0x93});
    hardware.set_segment(ldtr, {.limit = 0xffff, .access = 0x82});
    hardware.set_segment(tr, {.limit = 0xffff, .access = 0x8b});
    hardware.set_gdtr({.base = 0, .limit = 0xffff});
    hardware.set_idtr({.base = 0, .limit = 0xffff});
    hardware.set_interrupt_shadow(false);
    hardware.set_nmi_blocked(false);
    hardware.set_task_priority(0);
    (void)hardware.withdraw_injection();
}

/// All registers as after power-on.
template <typename Hardware>
void reset_registers(Hardware& hardware) {
    initialize_registers(hardware);
    hardware.set_xcr0(x86::xcr0::x87);
    for (auto const msr : {x86::msr::ia32_star, x86::msr::ia32_lstar, x86::msr::ia32_cstar, x86::msr::ia32_fmask,
                           x86::msr::ia32_kernel_gs_base, x86::msr::ia32_sysenter_cs, x86::msr::ia32_sysenter_esp,
                           x86::msr::ia32_sysenter_eip, x86::msr::ia32_tsc_aux})
        (void)hardware.set_msr(msr, 0);
    (void)hardware.set_msr(x86::msr::ia32_pat, x86::pat_at_reset);
}

/// The start state that a loader computed.
template <typename Hardware>
void apply(Hardware& hardware, guest::start_state const& state) {
    for (unsigned i{0}; i != x86::gpr_count; ++i)
        hardware.set_gpr(static_cast<x86::gpr>(i), state.gpr[i]);
    hardware.set_efer(state.efer);
    hardware.set_cr4(state.cr4);
    hardware.set_cr3(state.cr3);
    hardware.set_cr0(state.cr0);
    hardware.set_rip(state.rip);
    hardware.set_rflags(state.rflags);
    for (unsigned i{0}; i != x86::segment_count; ++i)
        hardware.set_segment(static_cast<x86::segment_name>(i), state.segments[i]);
    hardware.set_gdtr(state.gdtr);
    hardware.set_idtr(state.idtr);
}

/// What the processor does to debug registers before a #DB handler runs, and does not for one that is injected: DR6
/// tells the causes, and DR7.GD falls so that the handler may read them. SDM Vol. 3B, "Debug Control Register (DR7)".
template <typename Hardware>
void note_debug_exception(Hardware& hardware, std::uint64_t causes) {
    constexpr std::uint64_t general_detect_enable{1u << 13};
    hardware.set_debug_register(6, hardware.debug_register(6) | causes);
    hardware.set_debug_register(7, hardware.debug_register(7) & ~general_detect_enable);
}

/// Whether the processor executes 64-bit code.
template <typename Hardware>
[[nodiscard]] auto is_64_bit(Hardware& hardware) -> bool {
    return (hardware.efer() & x86::efer::lma) != 0 and
           (hardware.segment(x86::segment_name::cs).access & x86::segment_access::long_mode) != 0;
}

/// The trap that follows an instruction, with its causes as bits of DR6: data breakpoints that it met, and the single
/// step. SDM Vol. 3B, "Debug Exception (#DB)—Interrupt Vector 1".
template <typename Hardware>
void raise_debug_trap(Hardware& hardware, event_queue& events, std::uint64_t causes) {
    note_debug_exception(hardware, causes);
    events.raise(event::make(x86::exception::debug));
}
inline constexpr std::uint64_t single_step_cause{1u << 14};

/// The rest of retiring an instruction that began with RF or TF.
template <typename Hardware>
[[gnu::noinline]] void retire_flags(Hardware& hardware, event_queue& events) {
    auto const flags = hardware.rflags();
    hardware.set_rflags(flags & ~x86::rflags::rf);
    if ((flags & x86::rflags::tf) != 0)
        raise_debug_trap(hardware, events, single_step_cause);
}

/// Retires the present instruction: RIP moves to `next`, which ends the interrupt shadow, RF falls, and a set TF raises
/// the single-step trap. Whether that was all of the first. SDM Vol. 3B, "Single-Step Exception Condition".
template <typename Hardware>
[[gnu::always_inline]] inline auto retire_instruction(Hardware& hardware, std::uint64_t next, event_queue& events)
    -> bool {
    if constexpr (requires { hardware.retire(next); })
        hardware.retire(next);
    else
        hardware.set_rip(next);
    bool const plain{(hardware.rflags() & (x86::rflags::rf | x86::rflags::tf)) == 0};
    if (not plain) [[unlikely]]
        retire_flags(hardware, events);
    return plain;
}

/// RIP behind an instruction that ends in a multiple of 4 GiB or crosses it: only 64-bit code goes on there.
template <typename Hardware>
[[nodiscard, gnu::cold, gnu::noinline]] auto wrapped(Hardware& hardware, std::uint64_t next) -> std::uint64_t {
    return is_64_bit(hardware) ? next : next & 0xffff'ffff;
}

/// Whether `next`, behind an instruction, is 0 or may have to be cut to the width of RIP.
[[nodiscard]] constexpr auto is_unknown_or_wrapped(std::uint64_t next) -> bool {
    return static_cast<std::uint32_t>(next) < 16; // no instruction is longer
}

/// Retires an instruction that ends before `next`: RIP moves in its width.
template <typename Hardware>
[[gnu::always_inline]] inline void finish_instruction(Hardware& hardware, std::uint64_t next, event_queue& events) {
    if (is_unknown_or_wrapped(next)) [[unlikely]]
        next = wrapped(hardware, next);
    retire_instruction(hardware, next, events);
}

} // namespace hv
