// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/control_registers.hpp>

#include <cstdint>

/// What the processor checks when software writes control registers. SDM Vol. 2B, "MOV—Move to/from Control Registers";
/// APM Vol. 2, "Control Registers". Each function answers false where the write raises #GP(0).
namespace hv::x86 {

/// State that decides whether a write is allowed.
struct control_state {
    std::uint64_t cr0{};
    std::uint64_t cr3{};
    std::uint64_t cr4{};
    std::uint64_t efer{};
    bool code_is_64_bit{}; ///< CS.L, or about to be
};

[[nodiscard]] constexpr auto may_write_cr0(control_state const& now, std::uint64_t value) -> bool {
    if ((value >> 32) != 0)
        return false;
    if ((value & cr0::pg) != 0 and (value & cr0::pe) == 0)
        return false;
    if ((value & cr0::nw) != 0 and (value & cr0::cd) == 0)
        return false;
    bool const turns_paging_on{(value & cr0::pg) != 0 and (now.cr0 & cr0::pg) == 0};
    bool const turns_paging_off{(value & cr0::pg) == 0 and (now.cr0 & cr0::pg) != 0};
    if (turns_paging_on and (now.efer & efer::lme) != 0 and ((now.cr4 & cr4::pae) == 0 or now.code_is_64_bit))
        return false;
    if (turns_paging_off and (now.code_is_64_bit or (now.cr4 & cr4::pcide) != 0))
        return false;
    return true;
}

/// The value CR0 takes: undefined bits vanish, ET is fixed.
[[nodiscard]] constexpr auto cr0_taken(std::uint64_t value) -> std::uint64_t {
    return (value & cr0::defined) | cr0::et;
}

/// EFER after CR0 took `value`: LMA follows LME and PG.
[[nodiscard]] constexpr auto efer_after_cr0(control_state const& now, std::uint64_t value) -> std::uint64_t {
    bool const active{(value & cr0::pg) != 0 and (now.efer & efer::lme) != 0};
    return active ? now.efer | efer::lma : now.efer & ~efer::lma;
}

/// `supported` are the bits that the guest's CPUID allows.
[[nodiscard]] constexpr auto may_write_cr4(control_state const& now, std::uint64_t value, std::uint64_t supported)
    -> bool {
    if ((value & ~supported) != 0)
        return false;
    bool const long_mode{(now.efer & efer::lma) != 0};
    if (long_mode and (value & cr4::pae) == 0)
        return false;
    if (long_mode and ((value ^ now.cr4) & cr4::la57) != 0)
        return false;
    if ((value & cr4::pcide) != 0 and (now.cr4 & cr4::pcide) == 0 and (not long_mode or (now.cr3 & 0xfff) != 0))
        return false;
    return true;
}

/// `supported` as for CR4, LMA not counted. APM Vol. 2, "Extended Feature Enable Register (EFER)".
[[nodiscard]] constexpr auto may_write_efer(control_state const& now, std::uint64_t value, std::uint64_t supported)
    -> bool {
    if ((value & ~(supported | efer::lma)) != 0)
        return false;
    if (((value ^ now.efer) & efer::lme) != 0 and (now.cr0 & cr0::pg) != 0)
        return false;
    return true;
}

/// The value EFER takes: LMA is not software's to write.
[[nodiscard]] constexpr auto efer_taken(control_state const& now, std::uint64_t value) -> std::uint64_t {
    return (value & ~efer::lma) | (now.efer & efer::lma);
}

/// XCR0 as XSETBV takes it; `supported` are the states that the guest's CPUID leaf Dh has. SDM Vol. 2D, "XSETBV—Set
/// Extended Control Register".
[[nodiscard]] constexpr auto may_write_xcr0(std::uint64_t value, std::uint64_t supported) -> bool {
    bool const complete{(value & xcr0::avx) == 0 or (value & xcr0::sse) != 0};
    return (value & ~supported) == 0 and (value & xcr0::x87) != 0 and complete;
}

} // namespace hv::x86
