// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/status.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>

namespace hv::backends::svm {

/// What this processor's SVM can do. APM Vol. 3, "Function 8000_000Ah — SVM Features".
struct features {
    bool svm{};
    bool disabled{}; ///< by the firmware: VM_CR.SVMDIS
    bool nested_paging{};
    bool no_execute{}; ///< the host runs with EFER.NXE, which nested tables obey
    bool next_rip{};
    bool tsc_ratio{}; ///< there is the MSR
    bool pause_filter{};
    bool pause_filter_threshold{};
    bool clean_bits{};
    bool flush_by_asid{};
    bool decode_assist{};
    bool smi_intercept{true}; ///< HWCR.SMMLOCK is clear
    bool xsave{};             ///< the host has CR4.OSXSAVE on
    bool xsaves{};            ///< and there is IA32_XSS
    bool tsc_aux{};           ///< RDTSCP
    bool invpcid{};
    std::uint32_t address_spaces{};

    [[nodiscard]] constexpr auto report() const -> processor_report {
        processor_report r{.next_rip = next_rip,
                           .decode_assist = decode_assist,
                           .flush_by_asid = flush_by_asid,
                           .clean_bits = clean_bits,
                           .tsc_scaling = tsc_ratio,
                           .xsaves = xsaves,
                           .pause_loops = pause_filter,
                           .address_spaces = address_spaces};
        if (not svm)
            r.missing = "SVM (CPUID 8000_0001h ECX bit 2)";
        else if (disabled)
            r.missing = "SVM, which the firmware turned off (VM_CR.SVMDIS)";
        else if (not nested_paging)
            r.missing = "nested paging (CPUID 8000_000Ah EDX bit 0)";
        else if (not no_execute)
            r.missing = "EFER.NXE, which the host must set before";
        else if (address_spaces < 2)
            r.missing = "an address space identifier for guests (CPUID 8000_000Ah EBX)";
        if (not r.missing.empty())
            r.verdict = status::no_device;
        return r;
    }
};

/// Reads the features of the current processor and changes nothing. An MSR that the processor lacks counts as zero:
/// emulators have no VM_CR and no HWCR.
template <typename Host>
[[nodiscard]] auto read_features(Host& host) -> features {
    features f;
    if (host.cpuid(0x8000'0000, 0).eax < 0x8000'000a)
        return f;
    auto const extended = host.cpuid(0x8000'0001, 0);
    f.svm = (extended.ecx >> 2 & 1) != 0;
    if (not f.svm)
        return f;

    auto const capabilities = host.cpuid(0x8000'000a, 0);
    f.address_spaces = capabilities.ebx;
    f.nested_paging = (capabilities.edx >> 0 & 1) != 0;
    f.next_rip = (capabilities.edx >> 3 & 1) != 0;
    f.tsc_ratio = (capabilities.edx >> 4 & 1) != 0;
    f.clean_bits = (capabilities.edx >> 5 & 1) != 0;
    f.flush_by_asid = (capabilities.edx >> 6 & 1) != 0;
    f.decode_assist = (capabilities.edx >> 7 & 1) != 0;
    f.pause_filter = (capabilities.edx >> 10 & 1) != 0;
    f.pause_filter_threshold = (capabilities.edx >> 12 & 1) != 0;
    if (host.cpuid(0, 0).eax >= 7)
        f.invpcid = (host.cpuid(7, 0).ebx & x86::cpuid_bits::leaf7_ebx::invpcid) != 0;
    f.xsave = (host.cpuid(1, 0).ecx >> 27 & 1) != 0;
    if (f.xsave and host.cpuid(0, 0).eax >= 0xd)
        f.xsaves = (host.cpuid(0xd, 1).eax & x86::cpuid_bits::xsaves) != 0;
    f.tsc_aux = (extended.edx >> 27 & 1) != 0;

    auto const efer = host.read_msr(x86::msr::ia32_efer);
    f.no_execute = efer and (efer.value & x86::efer::nxe) != 0;
    constexpr std::uint64_t svmdis{1u << 4}, smmlock{1u << 0};
    auto const vm_cr = host.read_msr(x86::msr::amd_vm_cr);
    f.disabled = vm_cr and (vm_cr.value & svmdis) != 0;
    auto const hwcr = host.read_msr(x86::msr::amd_hwcr);
    f.smi_intercept = not(hwcr and (hwcr.value & smmlock) != 0);
    return f;
}

} // namespace hv::backends::svm
