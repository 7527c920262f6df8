// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/speculation.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>

namespace hv::backends::vmx {

/// What Intel's processors say of themselves. Without microcode that enumerates a mitigation there is none.
///
/// L1D flush at each entry: unless immune to L1 terminal fault, or an outer hypervisor does it. VERW: where it
/// overwrites buffers and the processor is open to MDS, to TSX asynchronous abort, to stale data of MMIO, or to
/// register file data sampling. SDM Vol. 4, "IA32_ARCH_CAPABILITIES"; SDM Vol. 2A, "Structured Extended Feature Flags
/// Enumeration Leaf".
[[nodiscard]] constexpr auto speculation_of(x86::cpuid_result const& leaf7, std::uint64_t capabilities) -> speculation {
    namespace bits = x86::cpuid_bits::leaf7_edx;
    namespace cap = x86::arch_capabilities;
    auto const has = [&leaf7](std::uint32_t bit) { return (leaf7.edx & bit) != 0; };
    auto const says = [capabilities](std::uint64_t bit) { return (capabilities & bit) != 0; };
    bool const transactions{(leaf7.ebx & x86::cpuid_bits::leaf7_ebx::rtm) != 0};
    bool const sampled{not says(cap::mds_no) or (transactions and not says(cap::taa_no))};
    return {.control = (has(bits::ibrs_ibpb) ? x86::spec_ctrl::ibrs : 0) |
                       (has(bits::stibp) ? x86::spec_ctrl::stibp : 0) | (has(bits::ssbd) ? x86::spec_ctrl::ssbd : 0),
            .barrier = has(bits::ibrs_ibpb),
            .clear_buffers = (has(bits::md_clear) and sampled) or says(cap::fb_clear) or says(cap::rfds_clear),
            .level1_flush = has(bits::l1d_flush),
            .flush_at_entry = has(bits::l1d_flush) and not says(cap::rdcl_no) and not says(cap::skip_l1dfl_vmentry)};
}

/// The same of the current processor; changes nothing.
template <typename Host>
[[nodiscard]] auto read_speculation(Host& host) -> speculation {
    if (host.cpuid(0, 0).eax < 7)
        return {};
    auto const leaf7 = host.cpuid(7, 0);
    std::uint64_t capabilities{0};
    if ((leaf7.edx & x86::cpuid_bits::leaf7_edx::arch_capabilities) != 0)
        if (auto const value = host.read_msr(x86::msr::ia32_arch_capabilities))
            capabilities = value.value;
    return speculation_of(leaf7, capabilities);
}

} // namespace hv::backends::vmx
