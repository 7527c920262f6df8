// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/vmx/controls.hpp>
#include <hv/backends/vmx/exit_code.hpp>
#include <hv/backends/vmx/vmcs.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/registers.hpp>
#include <hv/x86/segment_checks.hpp>

#include <cstdint>

namespace hv::backends::vmx {

namespace detail {

/// Segment registers that each are right, and not together. SDM Vol. 3C, "Checks on Guest Segment Registers".
template <typename Registers>
[[nodiscard]] auto why_segments_disagree(Registers const& cpu, bool long_mode, bool virtual_8086) -> char const* {
    namespace bits = x86::segment_access;
    using enum x86::segment_name;
    if (virtual_8086) {
        for (auto const name : {es, cs, ss, ds, fs, gs})
            if (auto const s = cpu.segment(name);
                s.base != std::uint64_t{s.selector} << 4 or s.limit != 0xffff or s.access != 0xf3)
                return "a segment of virtual-8086 mode is not what its selector says";
        return nullptr;
    }
    auto const dpl = [&cpu](x86::segment_name name) { return cpu.segment(name).access & bits::dpl; };
    auto const code = cpu.segment(cs).access;
    constexpr auto conforming = bits::expand_down;
    if ((code & bits::code) == 0 ? dpl(cs) != 0 or dpl(ss) != 0
                                 : ((code & conforming) != 0 ? dpl(cs) > dpl(ss) : dpl(cs) != dpl(ss)))
        return "the privilege levels of CS and SS do not agree";
    if ((cpu.cr0() & x86::cr0::pe) == 0 and dpl(ss) != 0)
        return "SS is not of privilege level 0 in real mode";
    if (long_mode and (cpu.segment(tr).access & bits::type) != 11)
        return "TR is no 64-bit TSS in IA-32e mode";
    if (long_mode and (code & bits::long_mode) != 0 and (code & bits::default_big) != 0)
        return "CS.L and CS.D are both set in IA-32e mode";
    return nullptr;
}

} // namespace detail

/// The first of the processor's checks on the guest's state that this VMCS does not pass, for the log of a failed
/// entry. Checks that depend on the processor (reserved bits, address widths) are its own secret; then the text says
/// so. SDM Vol. 3C, "Checks on the Guest State Area".
template <typename Registers>
[[nodiscard]] auto why_guest_state_fails(Registers const& cpu) -> char const* {
    auto const& v = cpu.fields();
    auto const cr0 = v.template read<guest_cr0>(), cr4 = v.template read<guest_cr4>();
    auto const efer = v.template read<guest_ia32_efer>(), rflags = v.template read<guest_rflags>();
    auto const long_mode = (v.template read<vm_entry_controls>() & vm_entry::ia_32e_mode_guest) != 0;
    if ((cr0 & x86::cr0::pg) != 0 and (cr0 & x86::cr0::pe) == 0)
        return "CR0.PG is set and CR0.PE is not";
    if (cr0 >> 32 != 0 or (cr0 & x86::cr0::ne) == 0)
        return "CR0 has a bit that VMX operation does not allow";
    if ((cr4 & x86::cr4::vmxe) == 0)
        return "CR4.VMXE is clear";
    if (long_mode and ((cr0 & x86::cr0::pg) == 0 or (cr4 & x86::cr4::pae) == 0))
        return "the guest is in IA-32e mode without CR0.PG and CR4.PAE";
    if (not long_mode and (cr4 & x86::cr4::pcide) != 0)
        return "CR4.PCIDE is set outside IA-32e mode";
    if (v.template read<guest_dr7>() >> 32 != 0)
        return "DR7[63:32] are not zero";
    for (std::uint64_t pat{v.template read<guest_ia32_pat>()}, n{0}; n < 8; ++n, pat >>= 8)
        if ((pat & 0xff) > 7 or (pat & 0xff) == 2 or (pat & 0xff) == 3)
            return "IA32_PAT holds a type that there is not";
    if (((efer & x86::efer::lma) != 0) != long_mode or
        ((cr0 & x86::cr0::pg) != 0 and ((efer & x86::efer::lme) != 0) != long_mode))
        return "EFER.LMA or EFER.LME differs from the IA-32e mode guest control";

    bool const virtual_8086{(rflags & x86::rflags::vm) != 0};
    if (virtual_8086 and (long_mode or (cr0 & x86::cr0::pe) == 0))
        return "RFLAGS.VM is set outside protected mode";

    using enum x86::segment_name;
    for (auto const name : {es, cs, ss, ds, fs, gs, ldtr, tr})
        if (auto const* const why = x86::why_segment_is_refused(name, cpu.segment(name)); why != nullptr)
            return why;
    if (auto const* const why = detail::why_segments_disagree(cpu, long_mode, virtual_8086); why != nullptr)
        return why;
    if (not x86::is_canonical(cpu.gdtr().base) or not x86::is_canonical(cpu.idtr().base))
        return "the base of GDTR or IDTR is not canonical";

    auto const rip = cpu.rip();
    if (long_mode and (cpu.segment(cs).access & x86::segment_access::long_mode) != 0 ? not x86::is_canonical(rip)
                                                                                     : rip >> 32 != 0)
        return "RIP is no address of this mode";
    if ((rflags & ~0x3f'7fd5ull) != x86::rflags::fixed_one)
        return "reserved bits of RFLAGS";
    auto const event = v.template read<vm_entry_interruption_information>();
    auto const shadow = v.template read<guest_interruptibility_state>();
    bool const injects{(event >> 31) != 0};
    auto const type = event >> 8 & 7;
    if (injects and type == 0 and ((rflags & x86::rflags::interrupt) == 0 or (shadow & 3) != 0))
        return "an external interrupt is injected into a guest that takes none";
    if ((shadow & 3) == 3 or ((shadow & 1) != 0 and (rflags & x86::rflags::interrupt) == 0))
        return "blocking by STI does not agree with RFLAGS.IF or with blocking by MOV SS";
    if (injects and type == 2 and (shadow & 0xa) != 0)
        return "an NMI is injected into a guest that takes none";
    if (v.template read<guest_activity_state>() != 0)
        return "the activity state is not active";
    bool const step{(v.template read<guest_pending_debug_exceptions>() >> 14 & 1) != 0};
    if ((shadow & 3) != 0 and step != ((rflags & x86::rflags::tf) != 0))
        return "the pending single step differs from RFLAGS.TF behind STI or MOV SS";
    if (v.template read<vmcs_link_pointer>() != ~0ull)
        return "the VMCS link pointer is not all ones";
    return "a reserved bit of CR3, CR4 or a PDPTE, or a segment that its mode does not allow";
}

/// Why the processor refused the last entry. SDM Vol. 3C, "VM-Instruction Error Numbers".
template <typename Vcpu>
[[nodiscard]] auto why_entry_fails(Vcpu const& cpu) -> char const* {
    auto const& v = cpu.fields();
    if (cpu.outcome() == entry_outcome::vmfail_invalid)
        return "VMfailInvalid: no current VMCS, or a field that VMWRITE refused";
    if (cpu.outcome() == entry_outcome::vmfail_valid)
        switch (v.template read<vm_instruction_error>()) {
        case 4:
            return "VMfailValid 4: VMLAUNCH with non-clear VMCS";
        case 5:
            return "VMfailValid 5: VMRESUME with non-launched VMCS";
        case 7:
            if (v.template read<tpr_threshold>() > cpu.task_priority())
                return "VMfailValid 7: the TPR threshold is above the virtual TPR";
            if (v.template read<vm_entry_interruption_information>() >> 31 != 0)
                return "VMfailValid 7: invalid control field, probably the injected event";
            return "VMfailValid 7: VM entry with invalid control fields";
        case 8:
            return "VMfailValid 8: VM entry with invalid host-state fields";
        case 26:
            return "VMfailValid 26: VM entry with events blocked by MOV SS";
        default:
            return "VMfailValid: another error of VMLAUNCH or VMRESUME";
        }
    switch (static_cast<exit_code>(v.template read<exit_reason>() & 0xffff)) {
    case exit_code::invalid_guest_state:
        switch (v.template read<exit_qualification>()) {
        case 2:
            return "a PDPTE cannot be loaded";
        case 3:
            return "an NMI is injected behind STI";
        case 4:
            return "the VMCS link pointer is invalid";
        default:
            return why_guest_state_fails(cpu);
        }
    case exit_code::msr_loading:
        return "loading of an MSR";
    case exit_code::machine_check_at_entry:
        return "a machine check during VM entry";
    default:
        return "VM entry failed for a reason that the manual does not know";
    }
}

} // namespace hv::backends::vmx
