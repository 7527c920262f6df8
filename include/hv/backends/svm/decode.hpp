// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/backends/svm/consistency.hpp>
#include <hv/backends/svm/exit_code.hpp>
#include <hv/backends/svm/vmcb.hpp>
#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/x86/exception.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>

/// From a VMCB after #VMEXIT to the neutral exits. APM Vol. 2, "SVM Intercept Codes" and the section of each intercept.
namespace hv::backends::svm {

[[nodiscard]] constexpr auto bit(std::uint64_t word, unsigned number) -> bool {
    return (word >> number & 1) != 0;
}

/// APM Vol. 2, "IOIO Intercepts". Size and address size have a bit for each of their values.
[[nodiscard]] constexpr auto decode_io(std::uint64_t info) -> exits::io_port {
    return {.port = static_cast<std::uint16_t>(info >> 16),
            .size = static_cast<unsigned>(info >> 4 & 7),
            .in = bit(info, 0),
            .string = bit(info, 2),
            .rep = bit(info, 3),
            .address_size = static_cast<unsigned>(info >> 7 & 7) << 1,
            .segment = x86::segment_name::ds,
            .segment_known = false};
}

/// Whether the instruction is IN or OUT of one byte: for most devices the only ones.
[[nodiscard]] constexpr auto is_plain_byte(std::uint64_t info) -> bool {
    constexpr std::uint64_t string{1u << 2}, sizes{7u << 4}, byte{1u << 4};
    return (info & (string | sizes)) == byte;
}

/// The same with the segment of OUTS. QEMU leaves it and the address size out.
[[nodiscard]] constexpr auto decode_string_io(std::uint64_t info, bool decode_assist) -> exits::io_port {
    auto const segment = info >> 10 & 7;
    auto exit = decode_io(info);
    if (decode_assist and exit.string and not exit.in and segment <= static_cast<unsigned>(x86::segment_name::gs)) {
        exit.segment = static_cast<x86::segment_name>(segment);
        exit.segment_known = true;
    }
    return exit;
}

/// APM Vol. 2, "Nested versus Guest Page Faults, Fault Ordering". Bytes behind those that the processor fetched mean
/// nothing.
[[nodiscard, gnu::always_inline]] constexpr auto decode_nested_page_fault(vmcb_control_area const& control,
                                                                          bool decode_assist)
    -> exits::nested_page_fault {
    auto const info = control.exitinfo1;
    static_assert(static_cast<unsigned>(access::read) == 1 and static_cast<unsigned>(access::write) == 2);
    auto const fetched = control.bytes_fetched & 0xfu & (0u - decode_assist);
    auto const data = static_cast<access>(1 + (info >> 1 & 1));
    return {.address = gpa{control.exitinfo2},
            .wanted = bit(info, 4) ? access::execute : data,
            .page_walk = bit(info, 33),
            .present = bit(info, 0),
            .instruction = {.bytes = control.guest_instruction_bytes, .count = static_cast<std::uint8_t>(fetched)}};
}

/// APM Vol. 2, "MOV CRx and MOV DRx Intercepts": bit 63 tells MOV from CLTS, LMSW and SMSW.
[[nodiscard]] constexpr auto decode_control_register(std::uint8_t number, bool write, std::uint64_t info,
                                                     bool decode_assist) -> exits::control_register {
    auto const decoded = decode_assist and bit(info, 63);
    return {.number = number,
            .write = write,
            .decoded = decoded,
            .kind = exits::control_register::form::mov,
            .source = decoded ? static_cast<x86::gpr>(info & 0xf) : x86::gpr::rax,
            .machine_status_word = 0};
}

/// APM Vol. 2, "Exception Intercepts".
[[nodiscard]] constexpr auto decode_exception(vmcb const& block, std::uint8_t vector) -> exits::exception {
    constexpr std::uint64_t debug_causes{0xe00f};
    auto const which = static_cast<x86::exception>(vector);
    exits::exception exit{.vector = which, .error_code = 0, .qualification = 0};
    if (x86::has_error_code(which))
        exit.error_code = static_cast<std::uint32_t>(block.control.exitinfo1);
    if (which == x86::exception::page_fault)
        exit.qualification = block.control.exitinfo2;
    if (which == x86::exception::debug)
        exit.qualification = block.save.dr6 & debug_causes;
    return exit;
}

/// APM Vol. 2, "Task Switch Intercept".
[[nodiscard]] constexpr auto decode_task_switch(vmcb_control_area const& control) -> exits::task_switch {
    using source = exits::task_switch::source;
    auto const info = control.exitinfo2;
    auto const reason = bit(info, 36)                        ? source::iret
                        : bit(info, 38)                      ? source::jmp
                        : event{control.exitintinfo}.valid() ? source::gate
                                                             : source::call;
    return {.selector = static_cast<std::uint16_t>(control.exitinfo1),
            .reason = reason,
            .has_error_code = bit(info, 44),
            .error_code = bit(info, 44) ? static_cast<std::uint32_t>(info) : 0,
            .resume_flag = bit(info, 48)};
}

/// The codes from idtr_read to tr_write: four registers, each read and then each written.
[[nodiscard]] constexpr auto decode_descriptor_table(std::uint64_t code) -> exits::descriptor_table {
    using enum exits::descriptor_table::table;
    constexpr exits::descriptor_table::table order[]{idtr, gdtr, ldtr, tr};
    auto const number = code - static_cast<std::uint64_t>(exit_code::idtr_read);
    return {.which = order[number & 3], .write = bit(number, 2)};
}

/// What WRMSR and XSETBV write.
template <typename Vcpu>
[[nodiscard]] auto edx_eax(Vcpu const& cpu) -> std::uint64_t {
    return cpu.gpr(x86::gpr::rdx) << 32 | (cpu.gpr(x86::gpr::rax) & 0xffff'ffff);
}

/// The exits that `decode` leaves.
template <typename Host, typename Vcpu, typename Handler>
[[nodiscard, gnu::noinline]] auto decode_rare(Host& host, Vcpu& cpu, Handler& handler) -> verdict {
    auto const& control = cpu.block().control;
    auto const code = control.exitcode;
    auto const assist = cpu.has_decode_assist();
    switch (static_cast<exit_code>(code)) {
    case exit_code::ioio: {
        auto const exit = decode_string_io(control.exitinfo1, assist);
        if (exit.string and exit.size != 0)
            return handler.on(exit);
        if (not exit.string and exit.size > 1)
            return handler.on(exit);
        break;
    }
    case exit_code::intr:
    case exit_code::nmi:
    case exit_code::smi:
    case exit_code::init:
        host.take_interrupts();
        return handler.on(exits::host_interrupt{});
    case exit_code::iret:
        cpu.end_nmi();
        return handler.on(exits::nmi_window{});
    case exit_code::rdtsc: // also of RDTSCP under QEMU
        return handler.on(exits::tsc_read{.with_aux = false});
    case exit_code::rdtscp:
        return handler.on(exits::tsc_read{.with_aux = true});
    case exit_code::pause:
        return handler.on(exits::pause{});
    case exit_code::monitor:
        return handler.on(exits::monitor{});
    case exit_code::mwait:
    case exit_code::mwait_armed:
        return handler.on(exits::mwait{});
    case exit_code::invd:
    case exit_code::wbinvd: // also of INVD under QEMU
        return handler.on(exits::cache_control{});
    case exit_code::xsetbv:
        return handler.on(
            exits::xsetbv{.index = static_cast<std::uint32_t>(cpu.gpr(x86::gpr::rcx)), .value = edx_eax(cpu)});
    case exit_code::rdpmc:
        return handler.on(exits::rdpmc{});
    case exit_code::vmrun:
    case exit_code::vmload:
    case exit_code::vmsave:
    case exit_code::stgi:
    case exit_code::clgi:
    case exit_code::skinit:
    case exit_code::invlpga:
    case exit_code::rdpru:
    case exit_code::invpcid:
    case exit_code::rsm:
        return handler.on(exits::undefined_instruction{});
    case exit_code::task_switch:
        return handler.on(decode_task_switch(control));
    case exit_code::shutdown:
        return handler.on(exits::triple_fault{});
    case exit_code::cr0_sel_write:
        return handler.on(decode_control_register(0, true, control.exitinfo1, assist));
    case exit_code::exception1:
        if (cpu.take_nmi_window())
            return handler.on(exits::nmi_window{});
        cpu.complete_debug_status();
        break;
    case exit_code::exception18:
        return handler.on(exits::machine_check{});
    default:
        break;
    }
    if constexpr (may_trap_descriptor_tables<Handler>)
        if (code >= static_cast<std::uint64_t>(exit_code::idtr_read) and
            code <= static_cast<std::uint64_t>(exit_code::tr_write))
            return handler.on(decode_descriptor_table(code));
    auto const low = static_cast<std::uint8_t>(code);
    if (code <= static_cast<std::uint64_t>(exit_code::write_cr15))
        return handler.on(decode_control_register(low & 0xf, bit(code, 4), control.exitinfo1, assist));
    if (code <= static_cast<std::uint64_t>(exit_code::write_dr15))
        return handler.on(
            exits::debug_register{.number = static_cast<std::uint8_t>(low & 0xf),
                                  .write = bit(code, 4),
                                  .decoded = assist,
                                  .source = assist ? static_cast<x86::gpr>(control.exitinfo1 & 0xf) : x86::gpr::rax});
    if (code <= static_cast<std::uint64_t>(exit_code::exception31))
        return handler.on(decode_exception(cpu.block(), low & 0x1f));
    if (is_invalid(code))
        return handler.on(exits::entry_failed{.reason = why_entry_fails(cpu.block(), cpu.suspected())});
    return handler.on(exits::unknown{.code = code, .information = {control.exitinfo1, control.exitinfo2}});
}

/// Calls the handler's function for the exit that `cpu` took, once: here for the exits that guests take most.
template <typename Host, typename Vcpu, typename Handler>
[[nodiscard, gnu::always_inline]] inline auto decode(Host& host, Vcpu& cpu, Handler& handler) -> verdict {
    auto const& control = cpu.block().control;
    auto const is = [code = control.exitcode](exit_code which) { return code == static_cast<std::uint64_t>(which); };
    if (is(exit_code::ioio)) [[likely]] {
        auto exit = decode_io(control.exitinfo1);
        if (not is_plain_byte(control.exitinfo1)) [[unlikely]]
            return decode_rare(host, cpu, handler);
        exit.size = 1;
        exit.string = false;
        exit.next_rip = control.exitinfo2;
        return handler.on(exit);
    }
    if (is(exit_code::msr)) [[likely]] {
        auto const index = static_cast<std::uint32_t>(cpu.gpr(x86::gpr::rcx));
        return bit(control.exitinfo1, 0) ? handler.on(exits::msr_write{.index = index, .value = edx_eax(cpu)})
                                         : handler.on(exits::msr_read{.index = index});
    }
    if (is(exit_code::npf))
        return handler.on(decode_nested_page_fault(control, cpu.has_decode_assist()));
    if (is(exit_code::cpuid))
        return handler.on(exits::cpuid{});
    if (is(exit_code::vmmcall))
        return handler.on(exits::hypercall{});
    if (is(exit_code::hlt))
        return handler.on(exits::hlt{});
    if (is(exit_code::vintr)) {
        cpu.request_interrupt_window(false);
        return handler.on(exits::interrupt_window{});
    }
    return decode_rare(host, cpu, handler);
}

} // namespace hv::backends::svm
