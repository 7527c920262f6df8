// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/backends/vmx/controls.hpp>
#include <hv/backends/vmx/invalidation.hpp>
#include <hv/status.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>
#include <string_view>

namespace hv::backends::vmx {

/// Bits of IA32_VMX_EPT_VPID_CAP. SDM Vol. 3D, Appendix A, "VPID and EPT Capabilities".
namespace ept_vpid {
inline constexpr std::uint64_t walk_of_four{1ull << 6};
inline constexpr std::uint64_t write_back_tables{1ull << 14};
inline constexpr std::uint64_t two_mib_pages{1ull << 16};
inline constexpr std::uint64_t invept{1ull << 20};
inline constexpr std::uint64_t accessed_and_dirty{1ull << 21};
inline constexpr std::uint64_t invept_single_context{1ull << 25};
inline constexpr std::uint64_t invept_all_contexts{1ull << 26};
inline constexpr std::uint64_t invvpid{1ull << 32};
inline constexpr std::uint64_t invvpid_single_context{1ull << 41};
inline constexpr std::uint64_t invvpid_all_contexts{1ull << 42};
} // namespace ept_vpid

/// What this processor's VMX can do. SDM Vol. 3D, Appendix A, "VMX Capability Reporting Facility".
struct features {
    bool vmx{};
    bool disabled{};   ///< by the firmware: IA32_FEATURE_CONTROL is locked without VMX
    bool no_execute{}; ///< the host runs with EFER.NXE, as every host of this library
    std::uint32_t revision{};
    capability pin{}, primary{}, secondary{}, exit{}, entry{};
    std::uint64_t cr0_fixed0{}, cr0_fixed1{}, cr4_fixed0{}, cr4_fixed1{};
    std::uint64_t ept_and_vpid{};
    std::uint8_t preemption_timer_shift{}; ///< the timer counts when this bit of the TSC changes
    bool string_io_information{};          ///< INS and OUTS say their segment and address size
    bool zero_length_events{};             ///< a software interrupt can be injected without an instruction behind it
    bool xsave{};                          ///< the host has CR4.OSXSAVE on
    bool xsaves{};                         ///< and there is IA32_XSS
    bool tsc_aux{};                        ///< RDTSCP or RDPID
    std::uint8_t physical_address_bits{36};

    [[nodiscard]] constexpr auto has_accessed_and_dirty() const -> bool {
        return (ept_and_vpid & ept_vpid::accessed_and_dirty) != 0;
    }

    [[nodiscard]] constexpr auto has_preemption_timer() const -> bool {
        return (pin.may_be_set & vmx::pin::activate_preemption_timer) != 0;
    }

    [[nodiscard]] constexpr auto has_tsc_scaling() const -> bool {
        return (secondary.may_be_set & vmx::secondary::use_tsc_scaling) != 0;
    }

    /// What one machine needs beyond that and the processor lacks; empty if nothing.
    [[nodiscard]] constexpr auto first_lack(vm_controls const& machine) const -> std::string_view {
        if (machine.run_apic)
            if (auto const name = first_missing(secondary, apic_names); not name.empty())
                return name;
        return machine.trap_descriptor_tables ? first_missing(secondary, descriptor_table_names) : std::string_view{};
    }

    [[nodiscard]] constexpr auto report() const -> processor_report {
        processor_report r{.next_rip = true,
                           .decode_assist = true,
                           .flush_by_asid = true,
                           .clean_bits = false,
                           .tsc_scaling = has_tsc_scaling(),
                           .xsaves = xsaves and (secondary.may_be_set & vmx::secondary::enable_xsaves) != 0,
                           .pause_loops = (secondary.may_be_set & vmx::secondary::pause_loop_exiting) != 0,
                           .bounded_stay = has_preemption_timer(),
                           .xsetbv_intercepted = true,
                           .address_spaces = vpid_count};
        r.missing = first_lack();
        if (not r.missing.empty())
            r.verdict = status::no_device;
        return r;
    }

  private:
    [[nodiscard]] constexpr auto first_lack() const -> std::string_view {
        if (not vmx)
            return "VMX (CPUID 1 ECX bit 5)";
        if (disabled)
            return "VMX, which the firmware turned off (IA32_FEATURE_CONTROL)";
        if (not no_execute)
            return "EFER.NXE, which the host must set before";
        if (auto const name = first_missing(pin, pin_names); not name.empty())
            return name;
        if (auto const name = first_missing(primary, primary_names); not name.empty())
            return name;
        if (auto const name = first_missing(secondary, secondary_names); not name.empty())
            return name;
        if (auto const name = first_missing(exit, exit_names); not name.empty())
            return name;
        if (auto const name = first_missing(entry, entry_names); not name.empty())
            return name;
        struct need {
            std::uint64_t bit;
            std::string_view name;
        };
        constexpr need needs[]{
            {ept_vpid::walk_of_four, "EPT walks of four levels (IA32_VMX_EPT_VPID_CAP bit 6)"},
            {ept_vpid::write_back_tables, "EPT tables in write-back memory (IA32_VMX_EPT_VPID_CAP bit 14)"},
            {ept_vpid::two_mib_pages, "2 MiB pages of EPT (IA32_VMX_EPT_VPID_CAP bit 16)"},
            {ept_vpid::invept, "INVEPT (IA32_VMX_EPT_VPID_CAP bit 20)"},
            {ept_vpid::invept_single_context, "single-context INVEPT (IA32_VMX_EPT_VPID_CAP bit 25)"},
            {ept_vpid::invept_all_contexts, "all-context INVEPT (IA32_VMX_EPT_VPID_CAP bit 26)"},
            {ept_vpid::invvpid, "INVVPID (IA32_VMX_EPT_VPID_CAP bit 32)"},
            {ept_vpid::invvpid_single_context, "single-context INVVPID (IA32_VMX_EPT_VPID_CAP bit 41)"},
            {ept_vpid::invvpid_all_contexts, "all-context INVVPID (IA32_VMX_EPT_VPID_CAP bit 42)"}};
        for (auto const& n : needs)
            if ((ept_and_vpid & n.bit) == 0)
                return n.name;
        return {};
    }
};

/// Bits of IA32_FEATURE_CONTROL. SDM Vol. 3C, "Enabling and Entering VMX Operation".
namespace feature_control {
inline constexpr std::uint64_t locked{1u << 0};
inline constexpr std::uint64_t vmx_outside_smx{1u << 2};
} // namespace feature_control

/// Reads the features of the current processor and changes nothing. An MSR that the processor lacks counts as zero.
template <typename Host>
[[nodiscard]] auto read_features(Host& host) -> features {
    auto const read = [&host](std::uint32_t index) {
        auto const found = host.read_msr(index);
        return found ? found.value : std::uint64_t{0};
    };
    features f;
    auto const leaf1 = host.cpuid(1, 0);
    f.vmx = (leaf1.ecx >> 5 & 1) != 0;
    if (not f.vmx)
        return f;
    f.xsave = (leaf1.ecx >> 27 & 1) != 0;
    if (f.xsave and host.cpuid(0, 0).eax >= 0xd)
        f.xsaves = (host.cpuid(0xd, 1).eax & x86::cpuid_bits::xsaves) != 0;
    if (host.cpuid(0x8000'0000, 0).eax >= 0x8000'0001)
        f.tsc_aux = (host.cpuid(0x8000'0001, 0).edx >> 27 & 1) != 0;
    if (host.cpuid(0x8000'0000, 0).eax >= 0x8000'0008)
        f.physical_address_bits = static_cast<std::uint8_t>(host.cpuid(0x8000'0008, 0).eax);
    f.no_execute = (read(x86::msr::ia32_efer) & x86::efer::nxe) != 0;
    auto const firmware = read(x86::msr::ia32_feature_control);
    f.disabled = (firmware & feature_control::locked) != 0 and (firmware & feature_control::vmx_outside_smx) == 0;

    auto const basic = read(x86::msr::ia32_vmx_basic);
    f.revision = static_cast<std::uint32_t>(basic) & 0x7fff'ffff;
    f.string_io_information = (basic >> 54 & 1) != 0;
    // The true controls may leave out what the first processors insisted on. SDM Vol. 3D, Appendix A, "Basic VMX
    // Information".
    auto const exact = (basic >> 55 & 1) != 0;
    f.pin = capability{read(exact ? x86::msr::ia32_vmx_true_pinbased_ctls : x86::msr::ia32_vmx_pinbased_ctls)};
    f.primary = capability{read(exact ? x86::msr::ia32_vmx_true_procbased_ctls : x86::msr::ia32_vmx_procbased_ctls)};
    f.exit = capability{read(exact ? x86::msr::ia32_vmx_true_exit_ctls : x86::msr::ia32_vmx_exit_ctls)};
    f.entry = capability{read(exact ? x86::msr::ia32_vmx_true_entry_ctls : x86::msr::ia32_vmx_entry_ctls)};
    if ((f.primary.may_be_set & primary::activate_secondary_controls) != 0)
        f.secondary = capability{read(x86::msr::ia32_vmx_procbased_ctls2)};
    if ((f.secondary.may_be_set & (secondary::enable_ept | secondary::enable_vpid)) != 0)
        f.ept_and_vpid = read(x86::msr::ia32_vmx_ept_vpid_cap);
    f.cr0_fixed0 = read(x86::msr::ia32_vmx_cr0_fixed0);
    f.cr0_fixed1 = read(x86::msr::ia32_vmx_cr0_fixed1);
    f.cr4_fixed0 = read(x86::msr::ia32_vmx_cr4_fixed0);
    f.cr4_fixed1 = read(x86::msr::ia32_vmx_cr4_fixed1);
    auto const miscellaneous = read(x86::msr::ia32_vmx_misc);
    f.preemption_timer_shift = static_cast<std::uint8_t>(miscellaneous & 0x1f);
    f.zero_length_events = (miscellaneous >> 30 & 1) != 0;
    return f;
}

} // namespace hv::backends::vmx
