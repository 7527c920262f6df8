// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/speculation.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>

namespace hv::backends::svm {

/// The CPUID leaves that tell of speculation; zeros for those that the processor lacks.
struct speculation_leaves {
    x86::cpuid_result signature{};   ///< 1
    x86::cpuid_result identifiers{}; ///< 8000_0008h
    x86::cpuid_result svm{};         ///< 8000_000Ah
    x86::cpuid_result extended{};    ///< 8000_0021h
};

/// Family of the processor. APM Vol. 3, "Function 0000_0001h—Processor and Processor Feature Identifiers".
[[nodiscard]] constexpr auto family(std::uint32_t signature) -> std::uint32_t {
    auto const base = signature >> 8 & 0xf;
    return base == 0xf ? base + (signature >> 20 & 0xff) : base;
}

/// What AMD's processors say of themselves.
///
/// An IBPB at each exit: families 17h to 1Ah predict returns by their address as well, so that a guest trains them from
/// afar (branch type confusion, speculative return stack overflow), unless they enumerate SRSO_NO. VERW: where it
/// clears what transient scheduler attacks look into. APM Vol. 3, "Function 8000_0008h" and "Function 8000_0021h"; APM
/// Vol. 2, "SPEC_CTRL virtualization".
[[nodiscard]] constexpr auto speculation_of(speculation_leaves const& leaves) -> speculation {
    namespace bits = x86::cpuid_bits::extended8_ebx;
    namespace eax = x86::cpuid_bits::extended21_eax;
    namespace ecx = x86::cpuid_bits::extended21_ecx;
    constexpr std::uint32_t spec_ctrl_virtualization{1u << 20}, both{ecx::tsa_sq_no | ecx::tsa_l1_no};
    auto const has = [&leaves](std::uint32_t bit) { return (leaves.identifiers.ebx & bit) != 0; };
    auto const number = family(leaves.signature.eax);
    bool const trains_returns{number >= 0x17 and number <= 0x1a and (leaves.extended.eax & eax::srso_no) == 0};
    speculation found{
        .control = (has(bits::ibrs) ? x86::spec_ctrl::ibrs : 0) | (has(bits::stibp) ? x86::spec_ctrl::stibp : 0) |
                   (has(bits::ssbd) ? x86::spec_ctrl::ssbd : 0) | (has(bits::psfd) ? x86::spec_ctrl::psfd : 0),
        .barrier = has(bits::ibpb),
        .barrier_at_exit = has(bits::ibpb) and trains_returns,
        .clear_buffers = (leaves.extended.eax & eax::verw_clear) != 0 and (leaves.extended.ecx & both) != both};
    found.virtual_control = found.control != 0 and (leaves.svm.edx & spec_ctrl_virtualization) != 0;
    return found;
}

/// The same of the current processor; changes nothing.
template <typename Host>
[[nodiscard]] auto read_speculation(Host& host) -> speculation {
    auto const last = host.cpuid(0x8000'0000, 0).eax;
    auto const leaf = [&](std::uint32_t function) {
        return last < function ? x86::cpuid_result{} : host.cpuid(function, 0);
    };
    auto found = speculation_of({.signature = host.cpuid(1, 0),
                                 .identifiers = leaf(0x8000'0008),
                                 .svm = leaf(0x8000'000a),
                                 .extended = leaf(0x8000'0021)});
    if (host.cpuid(0, 0).eax >= 7)
        found.level1_flush = (host.cpuid(7, 0).edx & x86::cpuid_bits::leaf7_edx::l1d_flush) != 0;
    return found;
}

} // namespace hv::backends::svm
