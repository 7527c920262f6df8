// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm/controls.hpp>
#include <hv/backends/svm/segment.hpp>
#include <hv/backends/svm/vmcb.hpp>
#include <hv/status.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>

namespace hv::backends::svm {

/// What an entry may have to do besides entering, a bit each. Nearly all have nothing to do.
namespace due {
inline constexpr std::uint16_t address_space{1u << 0}; ///< another processor, or another use of it
inline constexpr std::uint16_t flush{1u << 1};
inline constexpr std::uint16_t tsc_aux{1u << 2};        ///< the processor does not have it yet
inline constexpr std::uint16_t extended_state{1u << 3}; ///< XCR0 or XSS to exchange: at each entry
inline constexpr std::uint16_t one_step{1u << 4};       ///< the entry is for one instruction
inline constexpr std::uint16_t end_of_nmi{1u << 5};     ///< which is the IRET that ends an NMI handler
inline constexpr std::uint16_t interrupted{1u << 6};    ///< an event interrupted by the last exit is there
inline constexpr std::uint16_t cr2{1u << 7};            ///< the processor may not have the guest's
inline constexpr std::uint16_t injection{1u << 8};      ///< an event to deliver
inline constexpr std::uint16_t nmi{1u << 9};            ///< which is an NMI
} // namespace due

/// The registers of a guest, in the VMCB and beside it. Getters answer what the guest sees. Setters keep the VMCB such
/// that VMRUN accepts it and flush the translations that a change of paging makes void.
class registers {
  public:
    [[nodiscard]] auto gpr(x86::gpr name) const -> std::uint64_t {
        if (name == x86::gpr::rax)
            return vmcb_->save.rax;
        return name == x86::gpr::rsp ? vmcb_->save.rsp : gprs_[static_cast<unsigned>(name) % x86::gpr_count];
    }
    void set_gpr(x86::gpr name, std::uint64_t value) {
        if (name == x86::gpr::rax)
            vmcb_->save.rax = value;
        else if (name == x86::gpr::rsp)
            vmcb_->save.rsp = value;
        else
            gprs_[static_cast<unsigned>(name) % x86::gpr_count] = value;
    }
    [[nodiscard]] auto rip() const -> std::uint64_t { return vmcb_->save.rip; }
    void set_rip(std::uint64_t value) {
        auto& block = *vmcb_;
        if (value != block.save.rip)
            block.control.interrupt_shadow = 0;
        block.save.rip = value;
    }
    /// RIP moves behind an instruction, which no interrupt shadow outlives.
    void retire(std::uint64_t next) {
        auto& block = *vmcb_;
        block.control.interrupt_shadow = 0;
        block.save.rip = next;
    }
    [[nodiscard]] auto rflags() const -> std::uint64_t { return vmcb_->save.rflags; }
    void set_rflags(std::uint64_t value) { vmcb_->save.rflags = value | x86::rflags::fixed_one; }

    [[nodiscard]] auto cr0() const -> std::uint64_t { return vmcb_->save.cr0 | cr0_cache_bits_; }
    /// CD and NW stay off in the processor: caching is the host's business, and NW without CD would not enter. While
    /// the guest set one of them, its reads of CR0 exit so that it sees them. EFER.LMA follows.
    void set_cr0(std::uint64_t value) {
        cr0_cache_bits_ = value & (x86::cr0::cd | x86::cr0::nw);
        auto const real = (value & x86::cr0::defined & ~cr0_cache_bits_) | x86::cr0::et;
        auto const changed = real ^ vmcb_->save.cr0;
        vmcb_->write(vmcb_->save.cr0, real);
        auto const cr = (vmcb_->control.intercept_cr & ~cr0_read) | (cr0_cache_bits_ != 0 ? cr0_read : 0);
        vmcb_->write(vmcb_->control.intercept_cr, cr);
        if ((changed & (x86::cr0::pg | x86::cr0::wp | x86::cr0::pe)) != 0)
            change_paging();
        set_efer(efer());
    }
    [[nodiscard]] auto cr2() const -> std::uint64_t { return vmcb_->save.cr2; }
    void set_cr2(std::uint64_t value) {
        vmcb_->write(vmcb_->save.cr2, value);
        due_ |= due::cr2;
    }
    [[nodiscard]] auto cr3() const -> std::uint64_t { return vmcb_->save.cr3; }
    void set_cr3(std::uint64_t value) {
        vmcb_->write(vmcb_->save.cr3, value);
        due_ |= due::flush;
    }
    [[nodiscard]] auto cr4() const -> std::uint64_t { return vmcb_->save.cr4; }
    /// Bits whose state this backend does not switch never reach the processor: VMXE and SMXE, PKE (PKRU), CET (its
    /// user half), and OSXSAVE where the machine hides XSAVE. The handler refuses them before; this is the second lock.
    void set_cr4(std::uint64_t value) {
        auto const real = value & ~(cr4_never | (xsave_ ? 0 : x86::cr4::osxsave));
        if ((real ^ vmcb_->save.cr4) != 0)
            change_paging();
        vmcb_->write(vmcb_->save.cr4, real);
    }
    /// Bochs 2.7 has cleared LMA already when a write to CR0 that ends paging exits.
    [[nodiscard]] auto efer() const -> std::uint64_t { return with_lma(vmcb_->save.efer) & ~x86::efer::svme; }
    /// SVME must be set in a guest and is hidden from it. LMA is LME and CR0.PG, as in the processor.
    void set_efer(std::uint64_t value) {
        auto const real = with_lma(value) | x86::efer::svme;
        if (real == vmcb_->save.efer)
            return;
        vmcb_->write(vmcb_->save.efer, real);
        change_paging();
    }

    /// Equal ones mean that instructions are fetched in the same way: see hv::code_page.
    [[nodiscard]] auto fetch_state() const -> std::array<std::uint64_t, 3> {
        auto const& save = vmcb_->save;
        vmcb_segment const& code = save.cs;
        return {save.cr3, paging_changes_, std::uint64_t{code.attributes} << 8 | save.cpl};
    }

    [[nodiscard]] auto segment(x86::segment_name name) const -> x86::segment {
        auto s = from_vmcb(stored_segment(name));
        if (name == x86::segment_name::ss) // the processor keeps CPL apart; everywhere else it is SS.DPL
            s.access = (s.access & ~x86::segment_access::dpl) | std::uint32_t{vmcb_->save.cpl}
                                                                    << x86::segment_access::dpl_shift;
        return s;
    }
    void set_segment(x86::segment_name name, x86::segment const& value) {
        auto& save = vmcb_->save;
        auto const s = to_vmcb(value);
        switch (name) {
        case x86::segment_name::es:
            return vmcb_->write(save.es, s);
        case x86::segment_name::cs:
            return vmcb_->write(save.cs, s);
        case x86::segment_name::ss:
            vmcb_->write(save.cpl, static_cast<std::uint8_t>((value.access & x86::segment_access::dpl) >>
                                                             x86::segment_access::dpl_shift));
            return vmcb_->write(save.ss, s);
        case x86::segment_name::ds:
            return vmcb_->write(save.ds, s);
        case x86::segment_name::fs:
            save.fs = s;
            return;
        case x86::segment_name::gs:
            save.gs = s;
            return;
        case x86::segment_name::ldtr:
            save.ldtr = s;
            return;
        case x86::segment_name::tr:
            save.tr = s;
            return;
        }
    }
    [[nodiscard]] auto gdtr() const -> x86::descriptor_table { return table(vmcb_->save.gdtr); }
    void set_gdtr(x86::descriptor_table const& t) { vmcb_->write(vmcb_->save.gdtr, {0, 0, t.limit, t.base}); }
    [[nodiscard]] auto idtr() const -> x86::descriptor_table { return table(vmcb_->save.idtr); }
    void set_idtr(x86::descriptor_table const& t) { vmcb_->write(vmcb_->save.idtr, {0, 0, t.limit, t.base}); }
    [[nodiscard]] auto cpl() const -> std::uint8_t { return vmcb_->save.cpl; }

    [[nodiscard]] auto msr(std::uint32_t index) const -> result<std::uint64_t> {
        auto const& save = vmcb_->save;
        switch (index) {
        case x86::msr::ia32_sysenter_cs:
            return save.sysenter_cs;
        case x86::msr::ia32_sysenter_esp:
            return save.sysenter_esp;
        case x86::msr::ia32_sysenter_eip:
            return save.sysenter_eip;
        case x86::msr::ia32_pat:
            return std::uint64_t{save.g_pat};
        case x86::msr::ia32_star:
            return save.star;
        case x86::msr::ia32_lstar:
            return save.lstar;
        case x86::msr::ia32_cstar:
            return save.cstar;
        case x86::msr::ia32_fmask:
            return save.sfmask;
        case x86::msr::ia32_fs_base:
            return save.fs.base;
        case x86::msr::ia32_gs_base:
            return save.gs.base;
        case x86::msr::ia32_kernel_gs_base:
            return save.kernel_gs_base;
        case x86::msr::ia32_tsc_aux:
            return tsc_aux_;
        default:
            return status::invalid_argument;
        }
    }
    [[nodiscard]] auto set_msr(std::uint32_t index, std::uint64_t value) -> status {
        auto& save = vmcb_->save;
        switch (index) {
        case x86::msr::ia32_sysenter_cs:
            save.sysenter_cs = value;
            return status::ok;
        case x86::msr::ia32_sysenter_esp:
            save.sysenter_esp = value;
            return status::ok;
        case x86::msr::ia32_sysenter_eip:
            save.sysenter_eip = value;
            return status::ok;
        case x86::msr::ia32_pat:
            vmcb_->write(save.g_pat, value);
            return status::ok;
        case x86::msr::ia32_star:
            save.star = value;
            return status::ok;
        case x86::msr::ia32_lstar:
            save.lstar = value;
            return status::ok;
        case x86::msr::ia32_cstar:
            save.cstar = value;
            return status::ok;
        case x86::msr::ia32_fmask:
            save.sfmask = value;
            return status::ok;
        case x86::msr::ia32_fs_base:
            save.fs.base = value;
            return status::ok;
        case x86::msr::ia32_gs_base:
            save.gs.base = value;
            return status::ok;
        case x86::msr::ia32_kernel_gs_base:
            save.kernel_gs_base = value;
            return status::ok;
        case x86::msr::ia32_tsc_aux:
            tsc_aux_ = value & 0xffff'ffff;
            due_ |= due::tsc_aux;
            return status::ok;
        default:
            return status::invalid_argument;
        }
    }

    void set_tsc_offset(std::uint64_t offset) { vmcb_->write(vmcb_->control.tsc_offset, offset); }
    void flush_translations() { due_ |= due::flush; }

    /// XCR0 of the guest, in force while it runs if the machine shows XSAVE. The caller checked the value.
    [[nodiscard]] auto xcr0() const -> std::uint64_t { return xcr0_; }
    void set_xcr0(std::uint64_t value) { xcr0_ = value; }

  protected:
    [[nodiscard]] auto stored_segment(x86::segment_name name) const -> vmcb_segment {
        auto const& save = vmcb_->save;
        switch (name) {
        case x86::segment_name::es:
            return save.es;
        case x86::segment_name::cs:
            return save.cs;
        case x86::segment_name::ss:
            return save.ss;
        case x86::segment_name::ds:
            return save.ds;
        case x86::segment_name::fs:
            return save.fs;
        case x86::segment_name::gs:
            return save.gs;
        case x86::segment_name::ldtr:
            return save.ldtr;
        case x86::segment_name::tr:
            break;
        }
        return save.tr;
    }

    static constexpr std::uint64_t cr4_never{x86::cr4::vmxe | x86::cr4::smxe | x86::cr4::pke | x86::cr4::cet};

    [[nodiscard]] auto with_lma(std::uint64_t efer) const -> std::uint64_t {
        auto const active = (efer & x86::efer::lme) != 0 and (vmcb_->save.cr0 & x86::cr0::pg) != 0;
        return (efer & ~x86::efer::lma) | (active ? x86::efer::lma : 0);
    }
    [[nodiscard]] static constexpr auto table(vmcb_segment const& s) -> x86::descriptor_table {
        return {s.base, static_cast<std::uint16_t>(s.limit)};
    }

    /// Translations of before are void. Writes to CR0, CR4 and EFER always exit, so none goes unseen.
    void change_paging() {
        due_ |= due::flush;
        ++paging_changes_;
    }

    vmcb* vmcb_{};
    std::array<std::uint64_t, x86::gpr_count + 1> gprs_{}; ///< RAX and RSP are in the VMCB; the last is switch_work
    std::array<std::uint64_t, 4> debug_addresses_{};       ///< DR0-DR3 while not attached
    std::uint64_t cr0_cache_bits_{};
    std::uint64_t xcr0_{1};
    std::uint64_t tsc_aux_{};
    std::uint64_t paging_changes_{};        ///< counts them
    bool xsave_{};                          ///< the guest may set CR4.OSXSAVE
    std::uint16_t due_{due::address_space}; ///< at the next entry
};

} // namespace hv::backends::svm
