// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/x86/exception.hpp>

#include <cstdint>
#include <span>
#include <string_view>

/// What makes a guest exit, and what entries and exits switch. SDM Vol. 3C, "VM-Execution Control Fields", "VM-Exit
/// Control Fields" and "VM-Entry Control Fields".
namespace hv::backends::vmx {

namespace pin {
inline constexpr std::uint32_t external_interrupt_exiting{1u << 0};
inline constexpr std::uint32_t nmi_exiting{1u << 3};
inline constexpr std::uint32_t virtual_nmis{1u << 5};
inline constexpr std::uint32_t activate_preemption_timer{1u << 6};
} // namespace pin

/// Primary processor-based controls.
namespace primary {
inline constexpr std::uint32_t interrupt_window_exiting{1u << 2};
inline constexpr std::uint32_t use_tsc_offsetting{1u << 3};
inline constexpr std::uint32_t hlt_exiting{1u << 7};
inline constexpr std::uint32_t mwait_exiting{1u << 10};
inline constexpr std::uint32_t rdpmc_exiting{1u << 11};
inline constexpr std::uint32_t rdtsc_exiting{1u << 12};
inline constexpr std::uint32_t use_tpr_shadow{1u << 21};
inline constexpr std::uint32_t nmi_window_exiting{1u << 22};
inline constexpr std::uint32_t unconditional_io_exiting{1u << 24};
inline constexpr std::uint32_t use_msr_bitmaps{1u << 28};
inline constexpr std::uint32_t monitor_exiting{1u << 29};
inline constexpr std::uint32_t pause_exiting{1u << 30};
inline constexpr std::uint32_t activate_secondary_controls{1u << 31};
} // namespace primary

/// Secondary processor-based controls.
namespace secondary {
inline constexpr std::uint32_t virtualize_apic_accesses{1u << 0};
inline constexpr std::uint32_t enable_ept{1u << 1};
inline constexpr std::uint32_t descriptor_table_exiting{1u << 2};
inline constexpr std::uint32_t enable_rdtscp{1u << 3};
inline constexpr std::uint32_t virtualize_x2apic_mode{1u << 4};
inline constexpr std::uint32_t enable_vpid{1u << 5};
inline constexpr std::uint32_t wbinvd_exiting{1u << 6};
inline constexpr std::uint32_t unrestricted_guest{1u << 7};
inline constexpr std::uint32_t apic_register_virtualization{1u << 8};
inline constexpr std::uint32_t virtual_interrupt_delivery{1u << 9};
inline constexpr std::uint32_t pause_loop_exiting{1u << 10};
inline constexpr std::uint32_t enable_invpcid{1u << 12};
inline constexpr std::uint32_t enable_xsaves{1u << 20};
inline constexpr std::uint32_t use_tsc_scaling{1u << 25};
} // namespace secondary

namespace vm_exit {
inline constexpr std::uint32_t save_debug_controls{1u << 2};
inline constexpr std::uint32_t host_address_space_size{1u << 9};
inline constexpr std::uint32_t load_ia32_pat{1u << 19};
inline constexpr std::uint32_t load_ia32_efer{1u << 21};
} // namespace vm_exit

namespace vm_entry {
inline constexpr std::uint32_t load_debug_controls{1u << 2};
inline constexpr std::uint32_t ia_32e_mode_guest{1u << 9};
inline constexpr std::uint32_t load_ia32_pat{1u << 14};
inline constexpr std::uint32_t load_ia32_efer{1u << 15};
} // namespace vm_entry

/// A set of controls, word for word as in the VMCS.
struct controls {
    std::uint32_t pin{}, primary{}, secondary{}, exceptions{}, exit{}, entry{};

    [[nodiscard]] constexpr auto contains(controls const& o) const -> bool {
        return (pin & o.pin) == o.pin and (primary & o.primary) == o.primary and
               (secondary & o.secondary) == o.secondary and (exceptions & o.exceptions) == o.exceptions and
               (exit & o.exit) == o.exit and (entry & o.entry) == o.entry;
    }
};

[[nodiscard]] constexpr auto bit(x86::exception vector) -> std::uint32_t {
    return 1u << static_cast<unsigned>(vector);
}

/// What no machine may leave out: each of these acts on the host itself, reveals it, never ends, or keeps the guest's
/// state apart from the host's. #AC and #DB can be delivered in an endless circle inside the processor. CPUID, INVD,
/// XSETBV, GETSEC and the VMX instructions exit without a control.
inline constexpr controls isolation{
    .pin = pin::external_interrupt_exiting | pin::nmi_exiting | pin::virtual_nmis,
    .primary = primary::use_tsc_offsetting | primary::hlt_exiting | primary::mwait_exiting | primary::rdpmc_exiting |
               primary::use_tpr_shadow | primary::unconditional_io_exiting | primary::use_msr_bitmaps |
               primary::monitor_exiting | primary::activate_secondary_controls,
    .secondary =
        secondary::enable_ept | secondary::enable_vpid | secondary::wbinvd_exiting | secondary::unrestricted_guest,
    .exceptions =
        bit(x86::exception::debug) | bit(x86::exception::alignment_check) | bit(x86::exception::machine_check),
    .exit = vm_exit::save_debug_controls | vm_exit::host_address_space_size | vm_exit::load_ia32_pat |
            vm_exit::load_ia32_efer,
    .entry = vm_entry::load_debug_controls | vm_entry::load_ia32_pat | vm_entry::load_ia32_efer};

/// The controls of one machine, before the processor's own rules.
[[nodiscard]] constexpr auto controls_for(vm_controls const& machine) -> controls {
    auto set = isolation;
    set.exceptions |= machine.intercepted_exceptions;
    if (machine.pause == pause_policy::exits)
        set.primary |= primary::pause_exiting;
    else if (machine.pause == pause_policy::loop_exits)
        set.secondary |= secondary::pause_loop_exiting;
    if (machine.trap_descriptor_tables)
        set.secondary |= secondary::descriptor_table_exiting;
    // Instructions that a guest executes itself where its CPUID shows them.
    if (machine.shows_rdtscp)
        set.secondary |= secondary::enable_rdtscp;
    if (machine.shows_invpcid)
        set.secondary |= secondary::enable_invpcid;
    if (machine.shows_xsaves)
        set.secondary |= secondary::enable_xsaves;
    if (machine.trap_tsc)
        set.primary |= primary::rdtsc_exiting; // of RDTSCP too
    if (machine.tsc_ratio != 0)
        set.secondary |= secondary::use_tsc_scaling;
    return set;
}
static_assert([] {
    for (unsigned choice{0}; choice < 16; ++choice)
        if (not controls_for({.intercepted_exceptions = (choice & 1) != 0 ? ~0u : 0u,
                              .trap_tsc = (choice & 2) != 0,
                              .pause = (choice & 4) != 0 ? pause_policy::exits : pause_policy::runs,
                              .hide_xsave = (choice & 8) != 0})
                    .contains(isolation))
            return false;
    return true;
}());

/// One capability MSR: which bits of a control word must be set and which may be. SDM Vol. 3D, Appendix A, "Reserved
/// Controls and Default Settings".
struct capability {
    std::uint32_t must_be_set{}, may_be_set{};

    constexpr capability() = default;
    constexpr explicit capability(std::uint64_t msr)
        : must_be_set{static_cast<std::uint32_t>(msr)}, may_be_set{static_cast<std::uint32_t>(msr >> 32)} {}

    /// The word that the processor accepts: what is wanted and possible, and what it insists on.
    [[nodiscard]] constexpr auto adjusted(std::uint32_t wanted) const -> std::uint32_t {
        return (wanted & may_be_set) | must_be_set;
    }
};

/// A control by the manual's name.
struct named_control {
    std::uint32_t bit;
    std::string_view name;
};

// clang-format off
inline constexpr named_control pin_names[]{
    {pin::external_interrupt_exiting, "external-interrupt exiting (pin-based VM-execution controls, bit 0)"},
    {pin::nmi_exiting, "NMI exiting (pin-based VM-execution controls, bit 3)"},
    {pin::virtual_nmis, "virtual NMIs (pin-based VM-execution controls, bit 5)"}};
inline constexpr named_control primary_names[]{
    {primary::interrupt_window_exiting, "interrupt-window exiting (primary processor-based controls, bit 2)"},
    {primary::use_tsc_offsetting, "use TSC offsetting (primary processor-based controls, bit 3)"},
    {primary::hlt_exiting, "HLT exiting (primary processor-based controls, bit 7)"},
    {primary::mwait_exiting, "MWAIT exiting (primary processor-based controls, bit 10)"},
    {primary::rdpmc_exiting, "RDPMC exiting (primary processor-based controls, bit 11)"},
    {primary::rdtsc_exiting, "RDTSC exiting (primary processor-based controls, bit 12)"},
    {primary::use_tpr_shadow, "use TPR shadow (primary processor-based controls, bit 21)"},
    {primary::nmi_window_exiting, "NMI-window exiting (primary processor-based controls, bit 22)"},
    {primary::unconditional_io_exiting, "unconditional I/O exiting (primary processor-based controls, bit 24)"},
    {primary::use_msr_bitmaps, "use MSR bitmaps (primary processor-based controls, bit 28)"},
    {primary::monitor_exiting, "MONITOR exiting (primary processor-based controls, bit 29)"},
    {primary::pause_exiting, "PAUSE exiting (primary processor-based controls, bit 30)"},
    {primary::activate_secondary_controls, "activate secondary controls (primary processor-based controls, bit 31)"}};
inline constexpr named_control secondary_names[]{
    {secondary::enable_ept, "enable EPT (secondary processor-based controls, bit 1)"},
    {secondary::enable_vpid, "enable VPID (secondary processor-based controls, bit 5)"},
    {secondary::wbinvd_exiting, "WBINVD exiting (secondary processor-based controls, bit 6)"},
    {secondary::unrestricted_guest, "unrestricted guest (secondary processor-based controls, bit 7)"}};
/// Of a machine whose local APICs the processor runs, beyond the others.
inline constexpr named_control apic_names[]{
    {secondary::virtualize_apic_accesses, "virtualize APIC accesses (secondary processor-based controls, bit 0)"},
    {secondary::virtualize_x2apic_mode, "virtualize x2APIC mode (secondary processor-based controls, bit 4)"},
    {secondary::apic_register_virtualization, "APIC-register virtualization (secondary processor-based controls, bit 8)"},
    {secondary::virtual_interrupt_delivery, "virtual-interrupt delivery (secondary processor-based controls, bit 9)"}};
/// Of a machine whose descriptor-table instructions exit.
inline constexpr named_control descriptor_table_names[]{
    {secondary::descriptor_table_exiting, "descriptor-table exiting (secondary processor-based controls, bit 2)"}};
inline constexpr named_control exit_names[]{
    {vm_exit::save_debug_controls, "save debug controls (VM-exit controls, bit 2)"},
    {vm_exit::host_address_space_size, "host address-space size (VM-exit controls, bit 9)"},
    {vm_exit::load_ia32_pat, "load IA32_PAT (VM-exit controls, bit 19)"},
    {vm_exit::load_ia32_efer, "load IA32_EFER (VM-exit controls, bit 21)"}};
inline constexpr named_control entry_names[]{
    {vm_entry::load_debug_controls, "load debug controls (VM-entry controls, bit 2)"},
    {vm_entry::ia_32e_mode_guest, "IA-32e mode guest (VM-entry controls, bit 9)"},
    {vm_entry::load_ia32_pat, "load IA32_PAT (VM-entry controls, bit 14)"},
    {vm_entry::load_ia32_efer, "load IA32_EFER (VM-entry controls, bit 15)"}};
// clang-format on

/// The first of these controls that the processor does not have; empty if it has all.
[[nodiscard]] constexpr auto first_missing(capability has, std::span<named_control const> wanted) -> std::string_view {
    for (auto const& control : wanted)
        if ((has.may_be_set & control.bit) == 0)
            return control.name;
    return {};
}

} // namespace hv::backends::vmx
