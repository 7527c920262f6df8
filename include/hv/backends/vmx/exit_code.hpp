// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::backends::vmx {

// clang-format off

/// SDM Vol. 3D, Appendix C, "VMX Basic Exit Reasons".
enum class exit_code : std::uint16_t {
    exception_or_nmi = 0, external_interrupt = 1, triple_fault = 2, init = 3, sipi = 4,
    interrupt_window = 7, nmi_window = 8, task_switch = 9,
    cpuid = 10, getsec = 11, hlt = 12, invd = 13, invlpg = 14, rdpmc = 15, rdtsc = 16, rsm = 17, vmcall = 18,
    vmclear = 19, vmlaunch = 20, vmptrld = 21, vmptrst = 22, vmread = 23, vmresume = 24, vmwrite = 25, vmxoff = 26,
    vmxon = 27, control_register = 28, debug_register = 29, io = 30, rdmsr = 31, wrmsr = 32,
    invalid_guest_state = 33, msr_loading = 34, mwait = 36, monitor = 39, pause = 40, machine_check_at_entry = 41,
    tpr_below_threshold = 43, apic_access = 44, virtualized_eoi = 45, gdtr_or_idtr = 46, ldtr_or_tr = 47, ept_violation = 48, ept_misconfiguration = 49, invept = 50, rdtscp = 51, preemption_timer = 52, invvpid = 53,
    wbinvd = 54, xsetbv = 55, apic_write = 56, invpcid = 58, vmfunc = 59, encls = 60, xsaves = 63, xrstors = 64,
};
// clang-format on

/// Bit 31 of the exit reason: the processor refused the guest's state.
inline constexpr std::uint32_t entry_failure_bit{1u << 31};

/// How an attempt to enter a guest ended. SDM Vol. 3C, "Conventions" of the VMX instruction reference.
enum class entry_outcome : std::uint8_t { exited = 0, vmfail_invalid = 1, vmfail_valid = 2 };

/// The exit is one instruction's, and nothing of it was executed. A task switch may be an event's.
[[nodiscard]] constexpr auto is_instruction(exit_code e) -> bool {
    return (e >= exit_code::cpuid and e <= exit_code::wrmsr) or e == exit_code::task_switch or e == exit_code::mwait or
           e == exit_code::monitor or e == exit_code::pause or e == exit_code::invept or e == exit_code::rdtscp or
           e == exit_code::gdtr_or_idtr or e == exit_code::ldtr_or_tr or
           (e >= exit_code::invvpid and e <= exit_code::xsetbv) or
           (e >= exit_code::invpcid and e <= exit_code::encls) or e == exit_code::xsaves or e == exit_code::xrstors;
}

} // namespace hv::backends::vmx
