// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/cpuid.hpp>
#include <hv/status.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/msr.hpp>

#include <array>
#include <cstdint>

/// IA32_SPEC_CTRL, IA32_PRED_CMD, IA32_FLUSH_CMD and IA32_ARCH_CAPABILITIES of a guest. Which it has follows from its
/// CPUID, and that from the machine's profile: hv::default_cpuid_profile hides them all. SDM Vol. 4, "IA-32
/// Architectural MSRs"; APM Vol. 3, "Function 8000_0008h".
namespace hv {

/// `Profile` for a guest that may protect its own processes from each other: what this host has of the controls.
template <typename Profile>
struct speculation_cpuid_profile {
    static constexpr auto rules = [] {
        namespace seven = x86::cpuid_bits::leaf7_edx;
        namespace eight = x86::cpuid_bits::extended8_ebx;
        auto all = Profile::rules;
        for (auto& rule : all)
            if (rule.function == 7 and rule.index == 0)
                rule.allow.edx |= seven::md_clear | seven::ibrs_ibpb | seven::stibp | seven::l1d_flush |
                                  seven::arch_capabilities | seven::ssbd;
            else if (rule.function == 0x8000'0008)
                rule.allow.ebx |= eight::ibpb | eight::ibrs | eight::stibp | eight::ssbd | eight::psfd;
        return all;
    }();
};

/// Whether a profile can show a guest any of these MSRs.
template <typename Profile>
[[nodiscard]] consteval auto shows_speculation_msrs() -> bool {
    namespace seven = x86::cpuid_bits::leaf7_edx;
    namespace eight = x86::cpuid_bits::extended8_ebx;
    constexpr std::uint32_t edx{seven::ibrs_ibpb | seven::stibp | seven::l1d_flush | seven::arch_capabilities |
                                seven::ssbd};
    constexpr std::uint32_t ebx{eight::ibpb | eight::ibrs | eight::stibp | eight::ssbd | eight::psfd};
    for (auto const& rule : Profile::rules)
        if ((rule.function == 7 and rule.index == 0 and ((rule.allow.edx | rule.set.edx) & edx) != 0) or
            (rule.function == 0x8000'0008 and ((rule.allow.ebx | rule.set.ebx) & ebx) != 0))
            return true;
    return false;
}

/// What a guest with these leaves may write, by register; no bits: there is none.
struct speculation_rights {
    std::uint64_t spec_ctrl{}, pred_cmd{}, flush_cmd{};
    bool arch_capabilities{};
};

[[nodiscard]] constexpr auto speculation_rights_of(cpuid_table const& leaves) -> speculation_rights {
    namespace seven = x86::cpuid_bits::leaf7_edx;
    namespace eight = x86::cpuid_bits::extended8_ebx;
    auto const* const leaf7 = leaves.find(7, 0);
    auto const* const leaf8 = leaves.find(0x8000'0008, 0);
    auto const has = [=](std::uint32_t of_leaf7, std::uint32_t of_leaf8) {
        return (leaf7 != nullptr and (leaf7->values.edx & of_leaf7) != 0) or
               (leaf8 != nullptr and (leaf8->values.ebx & of_leaf8) != 0);
    };
    return {.spec_ctrl = (has(seven::ibrs_ibpb, eight::ibrs) ? x86::spec_ctrl::ibrs : 0) |
                         (has(seven::stibp, eight::stibp) ? x86::spec_ctrl::stibp : 0) |
                         (has(seven::ssbd, eight::ssbd) ? x86::spec_ctrl::ssbd : 0) |
                         (has(0, eight::psfd) ? x86::spec_ctrl::psfd : 0),
            .pred_cmd = has(seven::ibrs_ibpb, eight::ibpb) ? x86::pred_cmd::ibpb : 0,
            .flush_cmd = has(seven::l1d_flush, 0) ? x86::flush_cmd::l1d_flush : 0,
            .arch_capabilities = has(seven::arch_capabilities, 0)};
}

/// The bits of IA32_ARCH_CAPABILITIES that hold in a guest as in the host: what it need not fear, and what VERW does.
inline constexpr std::uint64_t arch_capabilities_shown = [] {
    using namespace x86::arch_capabilities;
    return rdcl_no | ibrs_all | rsba | ssb_no | mds_no | if_pschange_mc_no | taa_no | sbdr_ssdp_no | fbsdp_no |
           psdp_no | fb_clear | rrsba | bhi_no | pbrsb_no | gds_no | rfds_no | rfds_clear;
}();

/// RDMSR. not_found: #GP. The commands can only be written.
template <typename Vcpu>
[[nodiscard]] auto read_speculation_msr(Vcpu& cpu, std::uint32_t index) -> result<std::uint64_t> {
    auto const rights = speculation_rights_of(cpu.cpuid());
    if (index == x86::msr::ia32_spec_ctrl and rights.spec_ctrl != 0)
        return cpu.hardware().speculation().control();
    if (index != x86::msr::ia32_arch_capabilities or not rights.arch_capabilities)
        return status::not_found;
    auto const host = cpu.host().read_msr(index);
    return host ? host.value & arch_capabilities_shown : std::uint64_t{0};
}

/// WRMSR. False: #GP.
template <typename Vcpu>
[[nodiscard]] auto write_speculation_msr(Vcpu& cpu, std::uint32_t index, std::uint64_t value) -> bool {
    auto const rights = speculation_rights_of(cpu.cpuid());
    auto const writable = index == x86::msr::ia32_spec_ctrl   ? rights.spec_ctrl
                          : index == x86::msr::ia32_pred_cmd  ? rights.pred_cmd
                          : index == x86::msr::ia32_flush_cmd ? rights.flush_cmd
                                                              : 0;
    if (writable == 0 or (value & ~writable) != 0)
        return false;
    auto& speculation = cpu.hardware().speculation();
    if (index == x86::msr::ia32_spec_ctrl)
        speculation.set_control(value);
    else if (value != 0 and index == x86::msr::ia32_pred_cmd)
        speculation.request_barrier();
    else if (value != 0)
        speculation.request_level1_flush();
    return true;
}

/// Whether an MSR is one of these.
[[nodiscard]] constexpr auto is_speculation_msr(std::uint32_t index) -> bool {
    return index == x86::msr::ia32_spec_ctrl or index == x86::msr::ia32_pred_cmd or index == x86::msr::ia32_flush_cmd or
           index == x86::msr::ia32_arch_capabilities;
}

} // namespace hv
