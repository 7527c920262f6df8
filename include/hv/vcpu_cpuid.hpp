// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/cpuid.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>
#include <utility>

/// CPUID as one virtual processor shows it to its guest, and what its leaves allow.
namespace hv {

/// A leaf where nobody is in a hurry: `find` is inlined wherever it stands.
[[nodiscard, gnu::noinline]] constexpr auto leaf_of(cpuid_table const& leaves, std::uint32_t function,
                                                    std::uint32_t index) -> cpuid_entry const* {
    return leaves.find(function, index);
}

/// The CR4 bits that a guest with these leaves may set.
[[nodiscard, gnu::cold]] constexpr auto supported_cr4(cpuid_table const& leaves) -> std::uint64_t {
    namespace bits = x86::cpuid_bits;
    std::uint64_t supported{x86::cr4::pce};
    if (auto const* leaf = leaf_of(leaves, 1, 0)) {
        auto const add = [&](std::uint32_t where, std::uint32_t feature, std::uint64_t allows) {
            if ((where & feature) != 0)
                supported |= allows;
        };
        auto const& v = leaf->values;
        add(v.edx, bits::leaf1_edx::vme, x86::cr4::vme | x86::cr4::pvi);
        add(v.edx, bits::leaf1_edx::tsc, x86::cr4::tsd);
        add(v.edx, bits::leaf1_edx::de, x86::cr4::de);
        add(v.edx, bits::leaf1_edx::pse, x86::cr4::pse);
        add(v.edx, bits::leaf1_edx::pae, x86::cr4::pae);
        add(v.edx, bits::leaf1_edx::mce, x86::cr4::mce);
        add(v.edx, bits::leaf1_edx::pge, x86::cr4::pge);
        add(v.edx, bits::leaf1_edx::fxsr, x86::cr4::osfxsr);
        add(v.edx, bits::leaf1_edx::sse, x86::cr4::osxmmexcpt);
        add(v.ecx, bits::leaf1_ecx::pcid, x86::cr4::pcide);
        add(v.ecx, bits::leaf1_ecx::xsave, x86::cr4::osxsave);
        if (auto const* structured = leaf_of(leaves, 7, 0)) {
            add(structured->values.ebx, bits::leaf7_ebx::fsgsbase, x86::cr4::fsgsbase);
            add(structured->values.ebx, bits::leaf7_ebx::smep, x86::cr4::smep);
            add(structured->values.ebx, bits::leaf7_ebx::smap, x86::cr4::smap);
            add(structured->values.ecx, bits::leaf7_ecx::umip, x86::cr4::umip);
        }
    }
    return supported;
}

/// The EFER bits that a guest with these leaves may set.
[[nodiscard]] constexpr auto supported_efer(cpuid_table const& leaves) -> std::uint64_t {
    namespace bits = x86::cpuid_bits::extended1_edx;
    std::uint64_t supported{0};
    if (auto const* leaf = leaf_of(leaves, 0x80000001, 0)) {
        auto const edx = leaf->values.edx;
        if ((edx & bits::syscall) != 0)
            supported |= x86::efer::sce;
        if ((edx & bits::long_mode) != 0)
            supported |= x86::efer::lme;
        if ((edx & bits::nx) != 0)
            supported |= x86::efer::nxe;
        if ((edx & bits::ffxsr) != 0)
            supported |= x86::efer::ffxsr;
    }
    return supported;
}

/// How many bits a physical address has for a guest with these leaves.
[[nodiscard]] constexpr auto physical_address_bits(cpuid_table const& leaves) -> unsigned {
    auto const* leaf = leaf_of(leaves, 0x80000008, 0);
    auto const bits = leaf == nullptr ? 36 : leaf->values.eax & 0xff;
    return bits >= 32 and bits <= 52 ? bits : 36;
}

[[nodiscard]] constexpr auto has_rdtscp(cpuid_table const& leaves) -> bool {
    auto const* const extended = leaf_of(leaves, 0x80000001, 0);
    return extended != nullptr and (extended->values.edx & x86::cpuid_bits::extended1_edx::rdtscp) != 0;
}

/// Whether a guest with these leaves has IA32_TSC_AUX.
[[nodiscard]] constexpr auto has_tsc_aux(cpuid_table const& leaves) -> bool {
    auto const* const structured = leaf_of(leaves, 7, 0);
    return has_rdtscp(leaves) or
           (structured != nullptr and (structured->values.ecx & x86::cpuid_bits::leaf7_ecx::rdpid) != 0);
}

[[nodiscard]] constexpr auto has_invpcid(cpuid_table const& leaves) -> bool {
    auto const* const structured = leaf_of(leaves, 7, 0);
    return structured != nullptr and (structured->values.ebx & x86::cpuid_bits::leaf7_ebx::invpcid) != 0;
}

/// Whether a guest with these leaves has IA32_TSC_ADJUST.
[[nodiscard]] constexpr auto has_tsc_adjust(cpuid_table const& leaves) -> bool {
    auto const* const structured = leaves.find(7, 0);
    return structured != nullptr and (structured->values.ebx & x86::cpuid_bits::leaf7_ebx::tsc_adjust) != 0;
}

/// Whether a guest with these leaves has XSAVES, XRSTORS and IA32_XSS, in which no state can be turned on.
[[nodiscard]] constexpr auto has_xsaves(cpuid_table const& leaves) -> bool {
    auto const* const leaf = leaf_of(leaves, 0xd, 1);
    return leaf != nullptr and (leaf->values.eax & x86::cpuid_bits::xsaves) != 0;
}

/// The states that a guest with these leaves may turn on in XCR0; 0 without XSAVE.
[[nodiscard]] constexpr auto supported_xcr0(cpuid_table const& leaves) -> std::uint64_t {
    auto const* const leaf = leaf_of(leaves, 0xd, 0);
    return leaf == nullptr ? 0 : std::uint64_t{leaf->values.edx} << 32 | leaf->values.eax;
}

/// How many bytes XSAVE writes for these states: legacy region, header, and the last state in the standard format. SDM
/// Vol. 1, "Standard Format of XSAVE Area".
[[nodiscard, gnu::cold, gnu::noinline]] constexpr auto xsave_area_size(cpuid_table const& leaves, std::uint64_t states)
    -> std::uint32_t {
    std::uint32_t size{512 + 64};
    for (std::uint32_t i{2}; i != 64; ++i)
        if ((states >> i & 1) != 0)
            if (auto const* const leaf = leaf_of(leaves, 0xd, i))
                if (auto const end = leaf->values.ebx + leaf->values.eax; end > size)
                    size = end;
    return size;
}

/// How many bytes XSAVEC and XSAVES write for these states. SDM Vol. 1, "Compacted Format of XSAVE Area".
[[nodiscard, gnu::cold, gnu::noinline]] constexpr auto compacted_area_size(cpuid_table const& leaves,
                                                                           std::uint64_t states) -> std::uint32_t {
    constexpr std::uint32_t aligned{1u << 1}; // ECX of the state's subleaf
    std::uint32_t size{512 + 64};
    for (std::uint32_t i{2}; i != 64; ++i)
        if ((states >> i & 1) != 0)
            if (auto const* const leaf = leaf_of(leaves, 0xd, i)) {
                if ((leaf->values.ecx & aligned) != 0)
                    size = (size + 63) & ~63u;
                size += leaf->values.eax;
            }
    return size;
}

/// Leaf 1 with its moving parts: see has_moving_parts.
template <typename Vcpu>
[[nodiscard, gnu::always_inline]] inline auto moving_leaf_1(Vcpu& cpu, x86::cpuid_result values) -> x86::cpuid_result {
    namespace bits = x86::cpuid_bits;
    values.ecx &= ~(bits::leaf1_ecx::osxsave | bits::leaf1_ecx::x2apic | bits::leaf1_ecx::tsc_deadline);
    values.edx &= ~bits::leaf1_edx::apic;
    if ((values.ecx & bits::leaf1_ecx::xsave) != 0 and (cpu.hardware().cr4() & x86::cr4::osxsave) != 0)
        values.ecx |= bits::leaf1_ecx::osxsave;
    if constexpr (Vcpu::has_lapic) {
        values.ecx |= bits::leaf1_ecx::x2apic | bits::leaf1_ecx::tsc_deadline;
        if (cpu.apic().enabled())
            values.edx |= bits::leaf1_edx::apic;
    }
    return values;
}

/// The other leaves with moving parts.
template <typename Vcpu>
[[nodiscard, gnu::noinline]] auto moving_cpuid(Vcpu& cpu, std::uint32_t function, std::uint32_t index,
                                               x86::cpuid_result values) -> x86::cpuid_result {
    if (function == 7) {
        values.ecx &= ~x86::cpuid_bits::leaf7_ecx::ospke; // CR4.PKE is never set
    } else if (function == 0xd and index == 0) {
        values.ebx = xsave_area_size(cpu.cpuid(), cpu.hardware().xcr0());
        values.ecx = xsave_area_size(cpu.cpuid(), supported_xcr0(cpu.cpuid()));
    } else if (function == 0xd and index == 1) {
        bool const compacts{(values.eax & (x86::cpuid_bits::xsavec | x86::cpuid_bits::xsaves)) != 0};
        values.ebx = compacts ? compacted_area_size(cpu.cpuid(), cpu.hardware().xcr0()) : 0;
    } else if (function == 0x15) {
        values = {}; // no crystal clock drives both the guest's TSC and its APIC timer
    } else if (function == 0x16) {
        values.eax = static_cast<std::uint32_t>((cpu.machine().tsc_frequency() + 500'000) / 1'000'000);
        values.ebx = values.eax;
    } else if (function == 0x40000010) {
        values = {.eax = static_cast<std::uint32_t>(cpu.machine().tsc_frequency() / 1000),
                  .ebx = Vcpu::has_lapic ? static_cast<std::uint32_t>(lapic::timer_frequency / 1000) : 0};
    }
    return values;
}

/// A leaf that no entry names: zeros. Behind the last level of a topology leaf the processor's id stays. SDM Vol. 2A,
/// "CPUID—CPU Identification", leaves 0BH and 1FH.
[[nodiscard, gnu::noinline]] constexpr auto missing_leaf(cpuid_table const& leaves, std::uint32_t function,
                                                         std::uint32_t index) -> x86::cpuid_result {
    if (function == 0xb or function == 0x1f)
        if (auto const& level = leaves.candidate(function); level.function == function)
            return {.ecx = index & 0xff, .edx = level.values.edx};
    return {};
}

/// What CPUID answers.
template <typename Vcpu>
[[nodiscard, gnu::always_inline]] inline auto read_cpuid(Vcpu& cpu, std::uint32_t function, std::uint32_t index)
    -> x86::cpuid_result {
    auto const* const leaf = std::as_const(cpu.cpuid()).find(function, index);
    if (leaf == nullptr)
        return missing_leaf(cpu.cpuid(), function, index);
    if (leaf->moves and function == 1)
        return moving_leaf_1(cpu, leaf->values);
    if (leaf->moves)
        return moving_cpuid(cpu, function, index, leaf->values);
    return leaf->values;
}

} // namespace hv
