// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/vmx/vmcs.hpp>
#include <hv/text.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace hv::backends::vmx {

/// One value of a dump line.
struct dump_item {
    std::string_view name;
    std::uint64_t value;
    unsigned digits;
};

template <typename Host>
[[gnu::cold]] void dump_line(Host& host, std::span<dump_item const> items) {
    text_line<> line;
    line.text("vmx");
    for (auto const& item : items)
        line.character(' ').text(item.name).character('=').hex(item.value, item.digits);
    host.log(line.view());
}

/// Logs a VMCS and the registers beside it.
template <typename Host, typename Vcpu>
[[gnu::cold]] void dump(Host& host, Vcpu const& cpu) {
    auto const& v = cpu.fields();
    auto const line = [&host](auto const&... items) {
        std::array<dump_item, sizeof...(items)> const list{items...};
        dump_line(host, list);
    };
    using item = dump_item;
    line(item{"exit_reason", v.template read<exit_reason>(), 3},
         item{"qualification", v.template read<exit_qualification>(), 16},
         item{"guest_physical", v.template read<guest_physical_address>(), 16},
         item{"guest_linear", v.template read<guest_linear_address>(), 16});
    line(item{"interruption", v.template read<vm_exit_interruption_information>(), 8},
         item{"error_code", v.template read<vm_exit_interruption_error_code>(), 8},
         item{"idt_vectoring", v.template read<idt_vectoring_information>(), 8},
         item{"error_code", v.template read<idt_vectoring_error_code>(), 8},
         item{"instruction_error", v.template read<vm_instruction_error>(), 1});
    line(item{"instruction_length", v.template read<vm_exit_instruction_length>(), 1},
         item{"instruction_information", v.template read<vm_exit_instruction_information>(), 8},
         item{"injected", v.template read<vm_entry_interruption_information>(), 8},
         item{"error_code", v.template read<vm_entry_exception_error_code>(), 4});
    line(item{"pin", v.template read<pin_based_controls>(), 8}, item{"primary", v.template read<primary_controls>(), 8},
         item{"secondary", v.template read<secondary_controls>(), 8},
         item{"exceptions", v.template read<exception_bitmap>(), 8},
         item{"exit", v.template read<vm_exit_controls>(), 8}, item{"entry", v.template read<vm_entry_controls>(), 8});
    line(item{"msr_bitmaps", v.template read<address_of_msr_bitmaps>(), 16},
         item{"virtual_apic", v.template read<virtual_apic_address>(), 16},
         item{"tsc_offset", v.template read<tsc_offset>(), 16});
    line(item{"vpid", v.template read<virtual_processor_identifier>(), 1},
         item{"ept_pointer", v.template read<ept_pointer>(), 16},
         item{"tpr_threshold", v.template read<tpr_threshold>(), 1}, item{"cr8", cpu.task_priority(), 1});

    static constexpr std::array<std::string_view, x86::gpr_count> gprs{
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
    for (unsigned i{0}; i < x86::gpr_count; i += 4)
        line(item{gprs[i], cpu.gpr(static_cast<x86::gpr>(i)), 16},
             item{gprs[i + 1], cpu.gpr(static_cast<x86::gpr>(i + 1)), 16},
             item{gprs[i + 2], cpu.gpr(static_cast<x86::gpr>(i + 2)), 16},
             item{gprs[i + 3], cpu.gpr(static_cast<x86::gpr>(i + 3)), 16});
    line(item{"rip", cpu.rip(), 16}, item{"rflags", cpu.rflags(), 8}, item{"cpl", cpu.cpl(), 1},
         item{"efer", cpu.efer(), 8});
    line(item{"cr0", v.template read<guest_cr0>(), 8}, item{"cr2", cpu.cr2(), 16}, item{"cr3", cpu.cr3(), 16},
         item{"cr4", v.template read<guest_cr4>(), 8}, item{"dr6", cpu.debug_register(6), 8},
         item{"dr7", cpu.debug_register(7), 8});
    line(item{"guest cr0", cpu.cr0(), 8}, item{"guest cr4", cpu.cr4(), 8}, item{"xcr0", cpu.xcr0(), 16});
    line(item{"pdpte0", v.template read<guest_pdpte0>(), 16}, item{"1", v.template read<guest_pdpte0>(1), 16},
         item{"2", v.template read<guest_pdpte0>(2), 16}, item{"3", v.template read<guest_pdpte0>(3), 16});
    line(item{"interruptibility", v.template read<guest_interruptibility_state>(), 1},
         item{"activity", v.template read<guest_activity_state>(), 1},
         item{"pending_debug", v.template read<guest_pending_debug_exceptions>(), 4});
    static constexpr std::array<std::string_view, x86::segment_count> segments{"es", "cs", "ss",   "ds",
                                                                               "fs", "gs", "ldtr", "tr"};
    for (unsigned i{0}; i < x86::segment_count; ++i) {
        auto const s = cpu.segment(static_cast<x86::segment_name>(i));
        line(item{segments[i], s.selector, 4}, item{"access", s.access, 5}, item{"limit", s.limit, 8},
             item{"base", s.base, 16});
    }
    line(item{"gdtr limit", cpu.gdtr().limit, 4}, item{"base", cpu.gdtr().base, 16},
         item{"idtr limit", cpu.idtr().limit, 4}, item{"base", cpu.idtr().base, 16});
    auto const msr = [&cpu](std::string_view name, std::uint32_t index) {
        return item{name, cpu.msr(index).value, 16};
    };
    line(msr("star", x86::msr::ia32_star), msr("lstar", x86::msr::ia32_lstar), msr("cstar", x86::msr::ia32_cstar),
         msr("fmask", x86::msr::ia32_fmask));
    line(msr("kernel_gs_base", x86::msr::ia32_kernel_gs_base), msr("sysenter_cs", x86::msr::ia32_sysenter_cs),
         msr("sysenter_esp", x86::msr::ia32_sysenter_esp), msr("sysenter_eip", x86::msr::ia32_sysenter_eip));
    line(msr("pat", x86::msr::ia32_pat), item{"debugctl", v.template read<guest_ia32_debugctl>(), 16},
         item{"host_cr3", v.template read<host_cr3>(), 16}, item{"host_cr4", v.template read<host_cr4>(), 8},
         item{"host_efer", v.template read<host_ia32_efer>(), 8});
}

} // namespace hv::backends::vmx
