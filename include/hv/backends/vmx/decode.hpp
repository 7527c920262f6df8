// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/vmx/consistency.hpp>
#include <hv/backends/vmx/events.hpp>
#include <hv/backends/vmx/exit_code.hpp>
#include <hv/backends/vmx/vmcs.hpp>
#include <hv/exit.hpp>
#include <hv/x86/apic.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/exception.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>

/// From a VMCS after a VM exit to the neutral exits. SDM Vol. 3C, "Information for VM Exits".
namespace hv::backends::vmx {

[[nodiscard]] constexpr auto bit(std::uint64_t word, unsigned number) -> bool {
    return (word >> number & 1) != 0;
}

/// SDM Vol. 3C, "Exit Qualification for I/O Instructions"; INS and OUTS also have "Format of the VM-Exit
/// Instruction-Information Field as Used for INS and OUTS".
[[nodiscard]] constexpr auto decode_io(std::uint64_t qualification, std::uint32_t information, bool informed)
    -> exits::io_port {
    auto const segment = information >> 15 & 7;
    exits::io_port exit{.port = static_cast<std::uint16_t>(qualification >> 16),
                        .size = static_cast<unsigned>((qualification & 7) + 1),
                        .in = bit(qualification, 3),
                        .string = bit(qualification, 4),
                        .rep = bit(qualification, 5),
                        .address_size = 0,
                        .segment = x86::segment_name::ds,
                        .segment_known = false};
    if (not exit.string or not informed)
        return exit;
    exit.address_size = static_cast<unsigned>(2u << (information >> 7 & 3));
    if (not exit.in and segment <= static_cast<unsigned>(x86::segment_name::gs)) {
        exit.segment = static_cast<x86::segment_name>(segment);
        exit.segment_known = true;
    }
    return exit;
}

/// Whether the instruction is IN or OUT of one byte: for most devices the only ones.
[[nodiscard]] constexpr auto is_plain_byte(std::uint64_t qualification) -> bool {
    constexpr std::uint64_t size{7}, string{1u << 4};
    return (qualification & (size | string)) == 0;
}

/// SDM Vol. 3C, "Exit Qualification for EPT Violations". With accessed and dirty flags a walk of the guest's tables is
/// a write. Without a linear address it was MOV to CR3 that walked.
[[nodiscard]] constexpr auto decode_nested_page_fault(std::uint64_t qualification, std::uint64_t address)
    -> exits::nested_page_fault {
    return {.address = gpa{address},
            .wanted = bit(qualification, 1)   ? access::write
                      : bit(qualification, 2) ? access::execute
                                              : access::read,
            .page_walk = not bit(qualification, 7) or not bit(qualification, 8),
            .present = (qualification >> 3 & 7) != 0,
            .instruction = {}};
}

/// SDM Vol. 3C, "Exit Qualification for APIC-Access VM Exits from Linear Accesses and Guest-Physical Accesses": what
/// the processor did not answer is the device's, as if nothing were mapped there.
[[nodiscard]] constexpr auto decode_apic_access(std::uint64_t qualification) -> exits::nested_page_fault {
    constexpr std::uint64_t write{1}, fetch{2}, event_delivery{3};
    auto const type = qualification >> 12 & 0xf;
    return {.address = gpa{x86::apic::default_base + (qualification & 0xfff)},
            .wanted = type == fetch                             ? access::execute
                      : type == write or type == event_delivery ? access::write
                                                                : access::read,
            .page_walk = type > event_delivery,
            .present = false,
            .instruction = {}};
}

/// SDM Vol. 3C, "Exit Qualification for Control-Register Accesses".
[[nodiscard]] constexpr auto decode_control_register(std::uint64_t qualification) -> exits::control_register {
    using form = exits::control_register::form;
    constexpr form kinds[]{form::mov, form::mov, form::clts, form::lmsw};
    auto const kind = qualification >> 4 & 3;
    return {.number = static_cast<std::uint8_t>(qualification & 0xf),
            .write = kind != 1,
            .decoded = true,
            .kind = kinds[kind],
            .source = static_cast<x86::gpr>(qualification >> 8 & 0xf),
            .machine_status_word = static_cast<std::uint16_t>(qualification >> 16)};
}

/// SDM Vol. 3C, "Exit Qualification for MOV DR".
[[nodiscard]] constexpr auto decode_debug_register(std::uint64_t qualification) -> exits::debug_register {
    return {.number = static_cast<std::uint8_t>(qualification & 7),
            .write = not bit(qualification, 4),
            .decoded = true,
            .source = static_cast<x86::gpr>(qualification >> 8 & 0xf)};
}

/// SDM Vol. 3C, "Information for VM Exits Due to Vectored Events" and "Exit Qualification for Debug Exceptions".
[[nodiscard]] constexpr auto decode_exception(std::uint32_t information, std::uint32_t error_code,
                                              std::uint64_t qualification) -> exits::exception {
    auto const which = static_cast<x86::exception>(information & 0x1f);
    bool const explained{which == x86::exception::page_fault or which == x86::exception::debug};
    return {.vector = which,
            .error_code = (information & interruption::error_code_present) != 0 ? error_code : 0,
            .qualification = explained ? qualification : 0};
}

/// SDM Vol. 3C, "Exit Qualification for Task Switches"; RF is saved as the old TSS would have it.
[[nodiscard]] constexpr auto decode_task_switch(std::uint64_t qualification, std::uint32_t vectoring,
                                                std::uint32_t error_code, std::uint64_t rflags) -> exits::task_switch {
    bool const has_error_code{interruption::is_valid(vectoring) and
                              (vectoring & interruption::error_code_present) != 0};
    return {.selector = static_cast<std::uint16_t>(qualification),
            .reason = static_cast<exits::task_switch::source>(qualification >> 30 & 3),
            .has_error_code = has_error_code,
            .error_code = has_error_code ? error_code : 0,
            .resume_flag = (rflags & x86::rflags::rf) != 0};
}

/// SDM Vol. 3C, "Format of the VM-Exit Instruction-Information Field as Used for LIDT, LGDT, SIDT, or SGDT" and "… for
/// LLDT, LTR, SLDT, and STR": bits 29:28 tell the instructions apart alike.
[[nodiscard]] constexpr auto decode_descriptor_table(exit_code code, std::uint32_t information)
    -> exits::descriptor_table {
    using enum exits::descriptor_table::table;
    bool const second{bit(information, 28)};
    return {.which = code == exit_code::gdtr_or_idtr ? (second ? idtr : gdtr) : (second ? tr : ldtr),
            .write = bit(information, 29)};
}

/// The exits of a local APIC that the processor runs.
template <typename Vcpu, typename Handler>
[[nodiscard]] auto decode_apic(Vcpu& cpu, Handler& handler, exit_code code) -> verdict {
    auto const qualification = cpu.fields().template read<exit_qualification>();
    if (code == exit_code::apic_access)
        return handler.on(decode_apic_access(qualification));
    if (code == exit_code::virtualized_eoi)
        return handler.on(exits::end_of_interrupt{.vector = static_cast<std::uint8_t>(qualification)});
    auto const offset = static_cast<std::uint16_t>(qualification & 0xfff);
    return handler.on(exits::apic_write{.offset = offset, .value = cpu.apic_page().words[offset / 16 * 4]});
}

/// The exits that guests take seldom, or that take long; and refused entries.
template <typename WorldSwitch, typename Host, typename Vcpu, typename Handler>
[[nodiscard, gnu::noinline]] auto decode_rare(Host& host, Vcpu& cpu, Handler& handler) -> verdict {
    auto const& fields = cpu.fields();
    auto const reason = fields.template read<exit_reason>();
    if ((reason & entry_failure_bit) != 0) [[unlikely]] {
        cpu.refuse(entry_outcome::exited);
        return handler.on(exits::entry_failed{.reason = why_entry_fails(cpu)});
    }
    cpu.look_for_interrupted_event();
    auto const code = static_cast<exit_code>(reason);
    auto const qualification = [&fields] { return fields.template read<exit_qualification>(); };
    auto const edx_eax = [&cpu] { return cpu.gpr(x86::gpr::rdx) << 32 | (cpu.gpr(x86::gpr::rax) & 0xffff'ffff); };
    auto const ecx = [&cpu] { return static_cast<std::uint32_t>(cpu.gpr(x86::gpr::rcx)); };

    switch (code) {
    case exit_code::io: {
        bool const informed{bit(qualification(), 4) and cpu.has_string_io_information()};
        auto const information = informed ? fields.template read<vm_exit_instruction_information>() : 0;
        auto exit = decode_io(qualification(), information, informed);
        exit.next_rip = cpu.end_of_instruction();
        return handler.on(exit);
    }
    case exit_code::hlt:
        return handler.on(exits::hlt{});
    case exit_code::interrupt_window:
        cpu.request_interrupt_window(false);
        return handler.on(exits::interrupt_window{});
    case exit_code::tpr_below_threshold: // behind the MOV to CR8: what waited for it may go in
        return handler.on(exits::interrupt_window{});
    case exit_code::external_interrupt:
    case exit_code::init:
    case exit_code::sipi:
        host.take_interrupts();
        return handler.on(exits::host_interrupt{});
    case exit_code::preemption_timer:
        return handler.on(exits::deadline{});
    case exit_code::nmi_window:
        cpu.end_shadow_of_sti();
        return handler.on(exits::nmi_window{});
    case exit_code::rdtsc:
        return handler.on(exits::tsc_read{.with_aux = false});
    case exit_code::rdtscp:
        return handler.on(exits::tsc_read{.with_aux = true});
    case exit_code::pause:
        return handler.on(exits::pause{});
    case exit_code::monitor:
        return handler.on(exits::monitor{});
    case exit_code::mwait:
        return handler.on(exits::mwait{});
    case exit_code::invd:
    case exit_code::wbinvd:
        return handler.on(exits::cache_control{});
    case exit_code::xsetbv:
        return handler.on(exits::xsetbv{.index = ecx(), .value = edx_eax()});
    case exit_code::rdpmc:
        return handler.on(exits::rdpmc{});
    case exit_code::vmclear:
    case exit_code::vmlaunch:
    case exit_code::vmptrld:
    case exit_code::vmptrst:
    case exit_code::vmread:
    case exit_code::vmresume:
    case exit_code::vmwrite:
    case exit_code::vmxoff:
    case exit_code::vmxon:
    case exit_code::invept:
    case exit_code::invvpid:
    case exit_code::vmfunc:
    case exit_code::getsec:
    case exit_code::encls:
    case exit_code::rsm:
        return handler.on(exits::undefined_instruction{});
    case exit_code::task_switch:
        return handler.on(decode_task_switch(qualification(), fields.template read<idt_vectoring_information>(),
                                             fields.template read<idt_vectoring_error_code>(), cpu.rflags()));
    case exit_code::triple_fault:
        return handler.on(exits::triple_fault{});
    case exit_code::control_register:
        return handler.on(decode_control_register(qualification()));
    case exit_code::debug_register:
        return handler.on(decode_debug_register(qualification()));
    case exit_code::exception_or_nmi: {
        cpu.restore_nmi_blocking();
        auto const information = fields.template read<vm_exit_interruption_information>();
        if (interruption::type_of(information) == interruption::type::nmi) {
            WorldSwitch::forward_nmi();
            host.take_interrupts();
            return handler.on(exits::host_interrupt{});
        }
        if ((information & 0xff) == static_cast<unsigned>(x86::exception::machine_check))
            return handler.on(exits::machine_check{});
        return handler.on(
            decode_exception(information, fields.template read<vm_exit_interruption_error_code>(), qualification()));
    }
    case exit_code::apic_access:
    case exit_code::apic_write:
    case exit_code::virtualized_eoi:
        if constexpr (may_run_apic<Handler>)
            return decode_apic(cpu, handler, code);
        break;
    case exit_code::gdtr_or_idtr:
    case exit_code::ldtr_or_tr:
        if constexpr (may_trap_descriptor_tables<Handler>)
            return handler.on(decode_descriptor_table(code, fields.template read<vm_exit_instruction_information>()));
        break;
    default:
        break;
    }
    return handler.on(exits::unknown{.code = static_cast<std::uint16_t>(code),
                                     .information = {qualification(), fields.template read<guest_physical_address>()}});
}

/// Calls the handler's function for the exit that `cpu` took, once.
template <typename WorldSwitch, typename Host, typename Vcpu, typename Handler>
[[nodiscard, gnu::always_inline]] inline auto decode(Host& host, Vcpu& cpu, Handler& handler) -> verdict {
    auto const& fields = cpu.fields();
    auto const reason = fields.template read<exit_reason>();
    auto const is = [reason](exit_code which) { return reason == static_cast<std::uint32_t>(which); };
    auto const edx_eax = [&cpu] { return cpu.gpr(x86::gpr::rdx) << 32 | (cpu.gpr(x86::gpr::rax) & 0xffff'ffff); };
    auto const ecx = [&cpu] { return static_cast<std::uint32_t>(cpu.gpr(x86::gpr::rcx)); };

    if (is(exit_code::io)) [[likely]] {
        auto const how = fields.template read_once<exit_qualification>();
        auto exit = decode_io(how, 0, false);
        if (not is_plain_byte(how)) [[unlikely]]
            return decode_rare<WorldSwitch>(host, cpu, handler);
        exit.size = 1;
        exit.string = false;
        exit.next_rip = cpu.end_of_instruction();
        return handler.on(exit);
    }
    if (is(exit_code::wrmsr)) [[likely]]
        return handler.on(exits::msr_write{.index = ecx(), .value = edx_eax()});
    if (is(exit_code::rdmsr)) [[likely]]
        return handler.on(exits::msr_read{.index = ecx()});
    if (is(exit_code::cpuid)) [[likely]]
        return handler.on(exits::cpuid{});
    if (is(exit_code::vmcall)) [[likely]]
        return handler.on(exits::hypercall{});
    if (is(exit_code::ept_violation)) [[likely]] {
        cpu.look_for_interrupted_event();
        auto const how = fields.template read_once<exit_qualification>();
        if ((how & interruption::unblocked_nmi) != 0) [[unlikely]]
            cpu.restore_nmi_blocking();
        return handler.on(decode_nested_page_fault(how, fields.template read_once<guest_physical_address>()));
    }
    return decode_rare<WorldSwitch>(host, cpu, handler);
}

} // namespace hv::backends::vmx
