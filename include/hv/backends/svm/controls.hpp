// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/x86/exception.hpp>

#include <cstdint>

/// What makes a guest exit. APM Vol. 2, "Instruction Intercepts" and "VMCB Layout, Control Area".
namespace hv::backends::svm {

/// Vector 3 of the VMCB's intercept words.
namespace misc1 {
inline constexpr std::uint32_t intr{1u << 0};
inline constexpr std::uint32_t nmi{1u << 1};
inline constexpr std::uint32_t smi{1u << 2};
inline constexpr std::uint32_t init{1u << 3};
inline constexpr std::uint32_t vintr{1u << 4};
inline constexpr std::uint32_t idtr_read{1u << 6};
inline constexpr std::uint32_t gdtr_read{1u << 7};
inline constexpr std::uint32_t ldtr_read{1u << 8};
inline constexpr std::uint32_t tr_read{1u << 9};
inline constexpr std::uint32_t idtr_write{1u << 10};
inline constexpr std::uint32_t gdtr_write{1u << 11};
inline constexpr std::uint32_t ldtr_write{1u << 12};
inline constexpr std::uint32_t tr_write{1u << 13};
inline constexpr std::uint32_t descriptor_tables{idtr_read | gdtr_read | ldtr_read | tr_read | idtr_write | gdtr_write |
                                                 ldtr_write | tr_write};
inline constexpr std::uint32_t rdtsc{1u << 14};
inline constexpr std::uint32_t rdpmc{1u << 15};
inline constexpr std::uint32_t cpuid{1u << 18};
inline constexpr std::uint32_t rsm{1u << 19};
inline constexpr std::uint32_t iret{1u << 20};
inline constexpr std::uint32_t invd{1u << 22};
inline constexpr std::uint32_t pause{1u << 23};
inline constexpr std::uint32_t hlt{1u << 24};
inline constexpr std::uint32_t invlpga{1u << 26};
inline constexpr std::uint32_t ioio_prot{1u << 27};
inline constexpr std::uint32_t msr_prot{1u << 28};
inline constexpr std::uint32_t task_switch{1u << 29};
inline constexpr std::uint32_t ferr_freeze{1u << 30};
inline constexpr std::uint32_t shutdown{1u << 31};
} // namespace misc1

/// Vector 4 of the VMCB's intercept words.
namespace misc2 {
inline constexpr std::uint32_t vmrun{1u << 0};
inline constexpr std::uint32_t vmmcall{1u << 1};
inline constexpr std::uint32_t vmload{1u << 2};
inline constexpr std::uint32_t vmsave{1u << 3};
inline constexpr std::uint32_t stgi{1u << 4};
inline constexpr std::uint32_t clgi{1u << 5};
inline constexpr std::uint32_t skinit{1u << 6};
inline constexpr std::uint32_t rdtscp{1u << 7};
inline constexpr std::uint32_t wbinvd{1u << 9};
inline constexpr std::uint32_t monitor{1u << 10};
inline constexpr std::uint32_t mwait{1u << 11};
inline constexpr std::uint32_t mwait_armed{1u << 12};
inline constexpr std::uint32_t xsetbv{1u << 13};
inline constexpr std::uint32_t rdpru{1u << 14};
} // namespace misc2

/// Vector 5 of the VMCB's intercept words.
namespace misc3 {
inline constexpr std::uint32_t invpcid{1u << 2};
} // namespace misc3

inline constexpr std::uint32_t cr0_read{1u << 0};
inline constexpr std::uint32_t cr0_write{1u << 16};
inline constexpr std::uint32_t cr4_write{1u << 20};

/// A set of intercepts, word for word as in the VMCB.
struct intercepts {
    std::uint32_t cr{}, dr{}, exceptions{}, misc1{}, misc2{}, misc3{};

    [[nodiscard]] constexpr auto contains(intercepts const& o) const -> bool {
        return (cr & o.cr) == o.cr and (dr & o.dr) == o.dr and (exceptions & o.exceptions) == o.exceptions and
               (misc1 & o.misc1) == o.misc1 and (misc2 & o.misc2) == o.misc2 and (misc3 & o.misc3) == o.misc3;
    }
};

[[nodiscard]] constexpr auto bit(x86::exception vector) -> std::uint32_t {
    return 1u << static_cast<unsigned>(vector);
}

/// What no machine may leave out: each of these acts on the host itself, reveals it, or never ends. VMLOAD and VMSAVE
/// would address host memory; #AC and #DB can be delivered in an endless circle inside the processor, and so perhaps
/// exceptions through task gates, each of which faults in its new task.
inline constexpr intercepts isolation{
    .cr = cr0_write | cr4_write,
    .exceptions =
        bit(x86::exception::debug) | bit(x86::exception::alignment_check) | bit(x86::exception::machine_check),
    .misc1 = misc1::intr | misc1::nmi | misc1::init | misc1::rdpmc | misc1::cpuid | misc1::rsm | misc1::invd |
             misc1::hlt | misc1::invlpga | misc1::ioio_prot | misc1::msr_prot | misc1::task_switch |
             misc1::ferr_freeze | misc1::shutdown,
    .misc2 = misc2::vmrun | misc2::vmmcall | misc2::vmload | misc2::vmsave | misc2::stgi | misc2::clgi | misc2::skinit |
             misc2::wbinvd | misc2::monitor | misc2::mwait | misc2::mwait_armed | misc2::xsetbv | misc2::rdpru};

/// What intercepts depend on besides the machine.
struct intercept_features {
    bool smi{};         ///< the firmware did not lock SMM
    bool invpcid{};     ///< the processor has the instruction, and so its intercept
    bool pause_loops{}; ///< it counts PAUSEs before one exits
};

/// The intercepts of one machine. An SMI can be intercepted only as long as the firmware did not lock SMM: behind the
/// lock the processor takes it itself. APM Vol. 2, "SMI Intercepts".
[[nodiscard]] constexpr auto intercepts_for(vm_controls const& machine, intercept_features has) -> intercepts {
    auto set = isolation;
    set.exceptions |= machine.intercepted_exceptions;
    if (has.smi)
        set.misc1 |= misc1::smi;
    if (machine.pause == pause_policy::exits or (machine.pause == pause_policy::loop_exits and has.pause_loops))
        set.misc1 |= misc1::pause;
    if (machine.trap_descriptor_tables)
        set.misc1 |= misc1::descriptor_tables;
    // Instructions that a guest is not to have: RDPID alone has no intercept.
    if (not machine.shows_rdtscp)
        set.misc2 |= misc2::rdtscp;
    if (not machine.shows_invpcid and has.invpcid)
        set.misc3 |= misc3::invpcid;
    if (machine.trap_tsc) {
        set.misc1 |= misc1::rdtsc;
        set.misc2 |= misc2::rdtscp;
    }
    return set;
}
static_assert([] {
    for (unsigned choice{0}; choice < 32; ++choice)
        if (not intercepts_for({.intercepted_exceptions = (choice & 1) != 0 ? ~0u : 0u,
                                .trap_tsc = (choice & 2) != 0,
                                .pause = (choice & 4) != 0 ? pause_policy::exits : pause_policy::runs,
                                .hide_xsave = (choice & 8) != 0},
                               {.smi = (choice & 16) != 0})
                    .contains(isolation))
            return false;
    return true;
}());

} // namespace hv::backends::svm
