// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm/controls.hpp>
#include <hv/backends/svm/vmcb.hpp>
#include <hv/event.hpp>
#include <hv/x86/control_registers.hpp>

#include <cstdint>

namespace hv::backends::svm {

/// The first of the processor's checks that a guest's state does not pass, null if none is known. APM Vol. 2,
/// "Canonicalization and Consistency Checks".
[[nodiscard]] constexpr auto why_guest_state_fails(vmcb_state_save_area const& save) -> char const* {
    std::uint64_t const cr0{save.cr0}, cr4{save.cr4}, efer{save.efer};
    if ((efer & x86::efer::svme) == 0)
        return "EFER.SVME is zero";
    if ((cr0 & x86::cr0::cd) == 0 and (cr0 & x86::cr0::nw) != 0)
        return "CR0.CD is zero and CR0.NW is set";
    if (cr0 >> 32 != 0)
        return "CR0[63:32] are not zero";
    if (save.dr6 >> 32 != 0)
        return "DR6[63:32] are not zero";
    if (save.dr7 >> 32 != 0)
        return "DR7[63:32] are not zero";
    auto const long_mode_on = (efer & x86::efer::lme) != 0 and (cr0 & x86::cr0::pg) != 0;
    if (long_mode_on and (cr4 & x86::cr4::pae) == 0)
        return "EFER.LME and CR0.PG are both set and CR4.PAE is zero";
    if (long_mode_on and (cr0 & x86::cr0::pe) == 0)
        return "EFER.LME and CR0.PG are both non-zero and CR0.PE is zero";
    constexpr unsigned l{1u << 9}, d{1u << 10};
    if (auto const cs = static_cast<vmcb_segment>(save.cs).attributes; long_mode_on and (cs & l) != 0 and (cs & d) != 0)
        return "EFER.LME, CR0.PG, CR4.PAE, CS.L, and CS.D are all non-zero";
    return nullptr;
}

/// The check that most likely failed, for the log of a failed entry. `suspected` is what the guest's state was known to
/// fail when it was loaded: Bochs leaves the host's state there in place of it. Checks that depend on the processor
/// (reserved bits, address widths) are its own secret; then the text says so.
[[nodiscard, gnu::cold]] constexpr auto why_entry_fails(vmcb const& block, char const* suspected) -> char const* {
    auto const& control = block.control;
    if (suspected != nullptr)
        return suspected;
    if (auto const* const why = why_guest_state_fails(block.save); why != nullptr)
        return why;
    if ((control.intercept_misc2 & misc2::vmrun) == 0)
        return "the VMRUN intercept bit is clear";
    if (control.guest_asid == 0)
        return "ASID is equal to zero";
    if (auto const e = event{control.eventinj}; e.valid()) {
        auto const type = static_cast<unsigned>(e.type());
        if (type == 1 or type > 4 or (e.raw & event::reserved) != 0)
            return "illegal event injection: reserved type";
        if (e.type() == event_type::exception and (e.vector() == 2 or e.vector() > 31))
            return "illegal event injection: vector of no exception";
    }
    return "a reserved bit of CR3, CR4, EFER or nCR3, or a map beyond the physical address space";
}

} // namespace hv::backends::svm
