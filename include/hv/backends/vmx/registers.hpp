// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/vmx/controls.hpp>
#include <hv/backends/vmx/segment.hpp>
#include <hv/backends/vmx/vmcs.hpp>
#include <hv/status.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/paging.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>

namespace hv::backends::vmx {

/// MSRs that have no place in the VMCS: the guest's are in the processor from attach to detach.
inline constexpr std::array switched_msrs{x86::msr::ia32_star,  x86::msr::ia32_lstar,          x86::msr::ia32_cstar,
                                          x86::msr::ia32_fmask, x86::msr::ia32_kernel_gs_base, x86::msr::ia32_tsc_aux};
/// What the next entry has to do besides entering.
namespace due {
inline constexpr std::uint32_t flush{1u << 0};        ///< the nested tables changed
inline constexpr std::uint32_t flush_linear{1u << 1}; ///< the guest's own paging changed
inline constexpr std::uint32_t pdptes{1u << 2};
inline constexpr std::uint32_t msrs{1u << 3}; ///< see `stale_msrs_`
inline constexpr std::uint32_t event{1u << 4};
inline constexpr std::uint32_t nmi_window{1u << 5}; ///< the control is on, or to be
inline constexpr std::uint32_t task_priority{1u << 6};
inline constexpr std::uint32_t extended_state{1u << 7}; ///< XCR0 or XSS
inline constexpr std::uint32_t first_entry{1u << 8};    ///< since `attach`
} // namespace due
inline constexpr unsigned star_slot{0}, fmask_slot{3}, kernel_gs_base_slot{4}, tsc_aux_slot{5};

/// The registers of a guest, in the VMCS and beside it. Getters answer what the guest sees. Setters keep the VMCS such
/// that VM entry accepts it and flush the translations that a change of paging makes void.
template <typename WorldSwitch>
class registers {
  public:
    [[nodiscard]] auto gpr(x86::gpr name) const -> std::uint64_t {
        return name == x86::gpr::rsp ? vmcs_.template read<guest_rsp>()
                                     : gprs_[static_cast<unsigned>(name) % x86::gpr_count];
    }
    void set_gpr(x86::gpr name, std::uint64_t value) {
        if (name == x86::gpr::rsp)
            vmcs_.template write<guest_rsp>(value);
        else
            gprs_[static_cast<unsigned>(name) % x86::gpr_count] = value;
    }
    [[nodiscard]] auto rip() const -> std::uint64_t { return vmcs_.template read<guest_rip>(); }
    /// Ends the interrupt shadow, and with it the single step that would have been taken behind it.
    void set_rip(std::uint64_t value) {
        if (value == rip())
            return;
        vmcs_.template write<guest_rip>(value);
        if (in_shadow()) [[unlikely]]
            end_shadow();
    }
    /// RIP moves behind the instruction that exited, which no interrupt shadow outlives.
    [[gnu::always_inline]] void retire(std::uint64_t next) {
        vmcs_.template overwrite<guest_rip>(next);
        if (in_shadow()) [[unlikely]]
            end_shadow();
    }
    [[nodiscard]] auto rflags() const -> std::uint64_t { return vmcs_.template read<guest_rflags>(); }
    void set_rflags(std::uint64_t value) {
        constexpr std::uint64_t defined{0x3f'7fd5};
        vmcs_.template write<guest_rflags>((value & defined) | x86::rflags::fixed_one);
    }

    [[nodiscard]] auto cr0() const -> std::uint64_t {
        return (vmcs_.template read<guest_cr0>() & cr0_guest_owned) |
               (vmcs_.template read<cr0_read_shadow>() & ~cr0_guest_owned);
    }
    /// CD and NW never reach the processor: caching is the host's business. The guest sees them in the read shadow.
    /// EFER.LMA follows.
    void set_cr0(std::uint64_t value) {
        auto const seen = (value & x86::cr0::defined) | x86::cr0::et;
        auto const real = ((seen & ~(x86::cr0::cd | x86::cr0::nw)) | cr0_fixed0_) & cr0_fixed1_;
        auto const changed = seen ^ cr0();
        vmcs_.template write<guest_cr0>(real);
        vmcs_.template write<cr0_read_shadow>(seen);
        if ((changed & (x86::cr0::pg | x86::cr0::wp | x86::cr0::pe)) != 0)
            change_paging();
        due_ |= due::pdptes;
        set_efer(efer());
    }
    [[nodiscard]] auto cr2() const -> std::uint64_t { return holds_cr2_ ? WorldSwitch::read_cr2() : cr2_; }
    void set_cr2(std::uint64_t value) {
        cr2_ = value;
        if (holds_cr2_)
            WorldSwitch::write_cr2(value);
    }
    /// MOV to CR0, CR3 and CR4 loads the pointers of PAE paging, so a bad one is refused then.
    static constexpr bool loads_page_directory_pointers{true};
    [[nodiscard]] auto cr3() const -> std::uint64_t { return vmcs_.template read<guest_cr3>(); }
    void set_cr3(std::uint64_t value) {
        vmcs_.template write<guest_cr3>(value & x86::paging::bits(physical_address_bits_ - 1u, 0));
        due_ |= due::flush_linear;
        due_ |= due::pdptes;
    }
    [[nodiscard]] auto cr4() const -> std::uint64_t { return vmcs_.template read<cr4_read_shadow>(); }
    /// Bits whose state this backend does not switch never reach the processor: VMXE and SMXE, PKE (PKRU), CET, and
    /// OSXSAVE where the machine hides XSAVE. The handler refuses them before; this is the second lock. MCE is always
    /// on: a machine check must not shut the processor down.
    void set_cr4(std::uint64_t value) {
        auto const seen = value & ~(cr4_never | (xsave_ ? 0 : x86::cr4::osxsave));
        if (seen != cr4())
            change_paging();
        vmcs_.template write<guest_cr4>((seen | x86::cr4::mce | cr4_fixed0_) & cr4_fixed1_);
        vmcs_.template write<cr4_read_shadow>(seen);
        due_ |= due::pdptes;
    }
    [[nodiscard]] auto efer() const -> std::uint64_t { return vmcs_.template read<guest_ia32_efer>(); }
    /// LMA is LME and CR0.PG, as in the processor; the entry control says the same. Other vendors' bits would not
    /// enter.
    void set_efer(std::uint64_t value) {
        auto real = value & (x86::efer::sce | x86::efer::lme | x86::efer::nxe);
        auto entry = vmcs_.template read<vm_entry_controls>() & ~vm_entry::ia_32e_mode_guest;
        if ((real & x86::efer::lme) != 0 and (cr0() & x86::cr0::pg) != 0) {
            real |= x86::efer::lma;
            entry |= vm_entry::ia_32e_mode_guest;
        }
        vmcs_.template write<vm_entry_controls>(entry);
        if (real == efer())
            return;
        vmcs_.template write<guest_ia32_efer>(real);
        change_paging();
        due_ |= due::pdptes;
    }

    /// Equal ones mean that instructions are fetched in the same way: see hv::code_page.
    [[nodiscard]] auto fetch_state() const -> std::array<std::uint64_t, 3> {
        constexpr auto cs = static_cast<unsigned>(x86::segment_name::cs);
        return {cr3(), paging_changes_, std::uint64_t{vmcs_.template read<guest_es_access_rights>(cs)} << 8 | cpl()};
    }

    [[nodiscard]] auto segment(x86::segment_name name) const -> x86::segment {
        auto const n = static_cast<unsigned>(name);
        return {.base = vmcs_.template read<guest_es_base>(n),
                .limit = vmcs_.template read<guest_es_limit>(n),
                .access = vmcs_.template read<guest_es_access_rights>(n),
                .selector = vmcs_.template read<guest_es_selector>(n)};
    }
    void set_segment(x86::segment_name name, x86::segment const& value) {
        auto const n = static_cast<unsigned>(name);
        vmcs_.template write<guest_es_base>(value.base, n);
        vmcs_.template write<guest_es_limit>(value.limit, n);
        vmcs_.template write<guest_es_access_rights>(to_vmcs(name, value), n);
        vmcs_.template write<guest_es_selector>(value.selector, n);
    }
    [[nodiscard]] auto gdtr() const -> x86::descriptor_table {
        return {vmcs_.template read<guest_gdtr_base>(),
                static_cast<std::uint16_t>(vmcs_.template read<guest_gdtr_limit>())};
    }
    void set_gdtr(x86::descriptor_table const& t) {
        vmcs_.template write<guest_gdtr_base>(t.base);
        vmcs_.template write<guest_gdtr_limit>(t.limit);
    }
    [[nodiscard]] auto idtr() const -> x86::descriptor_table {
        return {vmcs_.template read<guest_idtr_base>(),
                static_cast<std::uint16_t>(vmcs_.template read<guest_idtr_limit>())};
    }
    void set_idtr(x86::descriptor_table const& t) {
        vmcs_.template write<guest_idtr_base>(t.base);
        vmcs_.template write<guest_idtr_limit>(t.limit);
    }
    [[nodiscard]] auto cpl() const -> std::uint8_t {
        auto const rights = vmcs_.template read<guest_es_access_rights>(static_cast<unsigned>(x86::segment_name::ss));
        return static_cast<std::uint8_t>((rights & x86::segment_access::dpl) >> x86::segment_access::dpl_shift);
    }

    [[nodiscard]] auto msr(std::uint32_t index) const -> result<std::uint64_t> {
        constexpr auto fs = static_cast<unsigned>(x86::segment_name::fs), gs = fs + 1;
        switch (index) {
        case x86::msr::ia32_sysenter_cs:
            return std::uint64_t{vmcs_.template read<guest_ia32_sysenter_cs>()};
        case x86::msr::ia32_sysenter_esp:
            return vmcs_.template read<guest_ia32_sysenter_esp>();
        case x86::msr::ia32_sysenter_eip:
            return vmcs_.template read<guest_ia32_sysenter_eip>();
        case x86::msr::ia32_pat:
            return vmcs_.template read<guest_ia32_pat>();
        case x86::msr::ia32_fs_base:
            return vmcs_.template read<guest_es_base>(fs);
        case x86::msr::ia32_gs_base:
            return vmcs_.template read<guest_es_base>(gs);
        default:
            break;
        }
        for (unsigned i{0}; i < switched_msrs.size(); ++i)
            if (switched_msrs[i] == index)
                return in_processor(i) ? WorldSwitch::read_msr(index) : switched_[i];
        return status::invalid_argument;
    }
    /// A value that WRMSR would refuse is made one that it takes.
    [[nodiscard]] auto set_msr(std::uint32_t index, std::uint64_t value) -> status {
        constexpr auto fs = static_cast<unsigned>(x86::segment_name::fs), gs = fs + 1;
        switch (index) {
        case x86::msr::ia32_sysenter_cs:
            vmcs_.template write<guest_ia32_sysenter_cs>(static_cast<std::uint32_t>(value));
            return status::ok;
        case x86::msr::ia32_sysenter_esp:
            vmcs_.template write<guest_ia32_sysenter_esp>(canonical(value));
            return status::ok;
        case x86::msr::ia32_sysenter_eip:
            vmcs_.template write<guest_ia32_sysenter_eip>(canonical(value));
            return status::ok;
        case x86::msr::ia32_pat:
            vmcs_.template write<guest_ia32_pat>(value);
            return status::ok;
        case x86::msr::ia32_fs_base:
            vmcs_.template write<guest_es_base>(canonical(value), fs);
            return status::ok;
        case x86::msr::ia32_gs_base:
            vmcs_.template write<guest_es_base>(canonical(value), gs);
            return status::ok;
        default:
            break;
        }
        for (unsigned i{0}; i < switched_msrs.size(); ++i)
            if (switched_msrs[i] == index) {
                switched_[i] = i == star_slot                         ? value
                               : i == fmask_slot or i == tsc_aux_slot ? value & 0xffff'ffff
                                                                      : canonical(value);
                stale_msrs_ |= 1u << i;
                due_ |= due::msrs;
                return status::ok;
            }
        return status::invalid_argument;
    }

    void set_tsc_offset(std::uint64_t offset) { vmcs_.template write<tsc_offset>(offset); }
    void flush_translations() { due_ |= due::flush; }

    /// XCR0 of the guest, in force while it runs if the machine shows XSAVE. The caller checked the value.
    [[nodiscard]] auto xcr0() const -> std::uint64_t { return xcr0_; }
    void set_xcr0(std::uint64_t value) {
        xcr0_ = value;
        due_ |= due::extended_state;
    }

    [[nodiscard]] auto fields() const -> cached_vmcs<WorldSwitch> const& { return vmcs_; }

  protected:
    void change_paging() {
        due_ |= due::flush_linear;
        ++paging_changes_;
    }
    [[nodiscard]] auto in_shadow() const -> bool {
        return (vmcs_.template read<guest_interruptibility_state>() & shadow) != 0;
    }
    [[gnu::noinline]] void end_shadow() {
        auto& fields = vmcs_;
        auto const state = fields.template read<guest_interruptibility_state>();
        auto const pending = fields.template read<guest_pending_debug_exceptions>();
        fields.template write<guest_interruptibility_state>(state & ~shadow);
        fields.template write<guest_pending_debug_exceptions>(pending & ~pending_single_step);
    }

    static constexpr std::uint64_t cr4_never{x86::cr4::vmxe | x86::cr4::smxe | x86::cr4::pke | x86::cr4::cet};
    /// What a guest changes without an exit. SDM Vol. 3C, "Guest/Host Masks and Read Shadows for CR0 and CR4".
    static constexpr std::uint64_t cr0_guest_owned{x86::cr0::mp | x86::cr0::em | x86::cr0::ts | x86::cr0::am |
                                                   x86::cr0::wp};
    /// Bits of the interruptibility state: blocking by STI and by MOV SS.
    static constexpr std::uint32_t shadow_of_sti{1}, shadow_of_mov_ss{2}, shadow{3}, blocked_by_nmi{8};
    static constexpr std::uint64_t pending_single_step{1u << 14};

    [[nodiscard]] static constexpr auto canonical(std::uint64_t address) -> std::uint64_t {
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16);
    }
    /// The guest may have written this one without an exit.
    [[nodiscard]] auto in_processor(unsigned i) const -> bool {
        return attached_ and (direct_msrs_ & ~stale_msrs_ & 1u << i) != 0;
    }

    cached_vmcs<WorldSwitch> vmcs_{};
    std::array<std::uint64_t, x86::gpr_count + 1> gprs_{}; ///< RSP is in the VMCS; the last is switch_work
    std::array<std::uint64_t, 4> debug_addresses_{};       ///< DR0-DR3 while not attached
    std::uint64_t debug_status_{};                         ///< DR6 while not attached
    std::uint64_t cr2_{};
    std::uint64_t paging_changes_{}; ///< of all but CR3
    std::uint64_t xcr0_{1};
    std::array<std::uint64_t, switched_msrs.size()> switched_{};
    std::uint32_t direct_msrs_{}; ///< a bit for each of switched_msrs that the guest writes without an exit
    std::uint32_t stale_msrs_{};  ///< the processor does not have these yet
    std::uint64_t cr0_fixed0_{}, cr0_fixed1_{~0ull}, cr4_fixed0_{}, cr4_fixed1_{~0ull};
    std::uint8_t physical_address_bits_{36};
    bool attached_{};
    bool holds_cr2_{}; ///< the processor has the guest's CR2, not `cr2_`
    bool xsave_{};     ///< the guest may set CR4.OSXSAVE
    std::uint32_t due_{};
};

} // namespace hv::backends::vmx
