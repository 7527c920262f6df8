// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/cpuid.hpp>
#include <hv/device_context.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/memory/guest_walk.hpp>
#include <hv/speculation_msrs.hpp>
#include <hv/x86/control_checks.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/memory_type.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

/// CPUID, MSRs and control registers as one virtual processor shows them to its guest. Each write answers false where
/// the guest gets #GP(0).
namespace hv {

/// The CR4 bits that a guest with these leaves may set.
[[nodiscard, gnu::cold]] constexpr auto supported_cr4(cpuid_table const& leaves) -> std::uint64_t {
    namespace bits = x86::cpuid_bits;
    std::uint64_t supported{x86::cr4::pce};
    if (auto const* leaf = leaves.find(1, 0)) {
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
        if (auto const* structured = leaves.find(7, 0)) {
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
    if (auto const* leaf = leaves.find(0x80000001, 0)) {
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
    auto const* leaf = leaves.find(0x80000008, 0);
    auto const bits = leaf == nullptr ? 36 : leaf->values.eax & 0xff;
    return bits >= 32 and bits <= 52 ? bits : 36;
}

[[nodiscard]] constexpr auto has_rdtscp(cpuid_table const& leaves) -> bool {
    auto const* const extended = leaves.find(0x80000001, 0);
    return extended != nullptr and (extended->values.edx & x86::cpuid_bits::extended1_edx::rdtscp) != 0;
}

/// Whether a guest with these leaves has IA32_TSC_AUX.
[[nodiscard]] constexpr auto has_tsc_aux(cpuid_table const& leaves) -> bool {
    auto const* const structured = leaves.find(7, 0);
    return has_rdtscp(leaves) or
           (structured != nullptr and (structured->values.ecx & x86::cpuid_bits::leaf7_ecx::rdpid) != 0);
}

[[nodiscard]] constexpr auto has_invpcid(cpuid_table const& leaves) -> bool {
    auto const* const structured = leaves.find(7, 0);
    return structured != nullptr and (structured->values.ebx & x86::cpuid_bits::leaf7_ebx::invpcid) != 0;
}

/// Whether a guest with these leaves has IA32_TSC_ADJUST.
[[nodiscard]] constexpr auto has_tsc_adjust(cpuid_table const& leaves) -> bool {
    auto const* const structured = leaves.find(7, 0);
    return structured != nullptr and (structured->values.ebx & x86::cpuid_bits::leaf7_ebx::tsc_adjust) != 0;
}

/// Whether a guest with these leaves has XSAVES, XRSTORS and IA32_XSS, in which no state can be turned on.
[[nodiscard]] constexpr auto has_xsaves(cpuid_table const& leaves) -> bool {
    auto const* const leaf = leaves.find(0xd, 1);
    return leaf != nullptr and (leaf->values.eax & x86::cpuid_bits::xsaves) != 0;
}

/// The states that a guest with these leaves may turn on in XCR0; 0 without XSAVE.
[[nodiscard]] constexpr auto supported_xcr0(cpuid_table const& leaves) -> std::uint64_t {
    auto const* const leaf = leaves.find(0xd, 0);
    return leaf == nullptr ? 0 : std::uint64_t{leaf->values.edx} << 32 | leaf->values.eax;
}

/// How many bytes XSAVE writes for these states: legacy region, header, and the last state in the standard format. SDM
/// Vol. 1, "Standard Format of XSAVE Area".
[[nodiscard, gnu::cold, gnu::noinline]] constexpr auto xsave_area_size(cpuid_table const& leaves, std::uint64_t states)
    -> std::uint32_t {
    std::uint32_t size{512 + 64};
    for (std::uint32_t i{2}; i != 64; ++i)
        if ((states >> i & 1) != 0)
            if (auto const* const leaf = leaves.find(0xd, i))
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
            if (auto const* const leaf = leaves.find(0xd, i)) {
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
    values.ebx = (values.ebx & 0x00ffffff) | cpu.id() << 24;
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

/// What CPUID answers.
template <typename Vcpu>
[[nodiscard, gnu::always_inline]] inline auto read_cpuid(Vcpu& cpu, std::uint32_t function, std::uint32_t index)
    -> x86::cpuid_result {
    auto const* const leaf = std::as_const(cpu.cpuid()).find(function, index);
    if (leaf == nullptr)
        return {};
    if (leaf->moves and function == 1)
        return moving_leaf_1(cpu, leaf->values);
    if (leaf->moves)
        return moving_cpuid(cpu, function, index, leaf->values);
    return leaf->values;
}

template <typename Vcpu>
[[nodiscard]] auto control_state_of(Vcpu& cpu) -> x86::control_state {
    auto& hardware = cpu.hardware();
    auto const code = hardware.segment(x86::segment_name::cs);
    return {.cr0 = hardware.cr0(),
            .cr3 = hardware.cr3(),
            .cr4 = hardware.cr4(),
            .efer = hardware.efer(),
            .code_is_64_bit = (code.access & x86::segment_access::long_mode) != 0};
}

/// Whether the guest may work with these values: where they mean PAE paging and the processor loads its four pointers,
/// those that are present hold no reserved bit. Pointers outside memory are for the walk to find. SDM Vol. 3A, "PDPTE
/// Registers"; AMD's processors read them under nested paging only when they are used.
template <typename Vcpu>
[[nodiscard]] auto may_load_page_directory_pointers(Vcpu& cpu, x86::control_state const& next) -> bool {
    if constexpr (requires {
                      requires std::remove_reference_t<decltype(cpu.hardware())>::loads_page_directory_pointers;
                  }) {
        if ((next.cr0 & x86::cr0::pg) == 0 or (next.cr4 & x86::cr4::pae) == 0 or (next.efer & x86::efer::lma) != 0)
            return true;
        paging_state const state{.cr3 = next.cr3,
                                 .efer = next.efer,
                                 .physical_bits = static_cast<std::uint8_t>(physical_address_bits(cpu.cpuid()))};
        for (unsigned i{0}; i != 4; ++i) {
            auto const where = gpa{paging_pae::root(state) + i * sizeof(paging_pae::entry)};
            auto const* const at = detail::entry_at<paging_pae::entry>(cpu.machine().memory(), where, access::read);
            auto const pointer = at == nullptr ? 0 : __atomic_load_n(at, __ATOMIC_RELAXED);
            if ((pointer & x86::paging::present) != 0 and
                (pointer & (paging_pae::reserved(state, pointer, 3) | x86::paging::accessed)) != 0)
                return false;
        }
    }
    return true;
}

template <typename Vcpu>
[[nodiscard, gnu::cold]] auto write_control_register(Vcpu& cpu, unsigned number, std::uint64_t value) -> bool {
    auto& hardware = cpu.hardware();
    auto const now = control_state_of(cpu);
    switch (number) {
    case 0:
        if (not x86::may_write_cr0(now, value))
            return false;
        if (auto const efer = x86::efer_after_cr0(now, value);
            ((value ^ now.cr0) & (x86::cr0::pg | x86::cr0::cd | x86::cr0::nw)) != 0 and
            not may_load_page_directory_pointers(cpu, {.cr0 = value, .cr3 = now.cr3, .cr4 = now.cr4, .efer = efer}))
            return false;
        hardware.set_efer(x86::efer_after_cr0(now, value));
        hardware.set_cr0(x86::cr0_taken(value));
        return true;
    case 2:
        hardware.set_cr2(value);
        return true;
    case 3:
        if ((now.cr4 & x86::cr4::pcide) != 0)
            value &= ~x86::cr3::no_flush;
        if ((now.efer & x86::efer::lma) != 0 and value >> physical_address_bits(cpu.cpuid()) != 0)
            return false;
        if (not may_load_page_directory_pointers(cpu, {.cr0 = now.cr0, .cr3 = value, .cr4 = now.cr4, .efer = now.efer}))
            return false;
        hardware.set_cr3(value);
        hardware.flush_translations();
        return true;
    case 4:
        if (not x86::may_write_cr4(now, value, cpu.supported_cr4()))
            return false;
        if (((value ^ now.cr4) & (x86::cr4::pae | x86::cr4::pge | x86::cr4::pse | x86::cr4::smep)) != 0 and
            not may_load_page_directory_pointers(cpu, {.cr0 = now.cr0, .cr3 = now.cr3, .cr4 = value, .efer = now.efer}))
            return false;
        hardware.set_cr4(value);
        return true;
    case 8:
        if ((value >> 4) != 0)
            return false;
        if constexpr (Vcpu::has_lapic)
            cpu.apic().set_task_priority(static_cast<std::uint8_t>(value));
        hardware.set_task_priority(static_cast<std::uint8_t>(value));
        return true;
    default:
        return false;
    }
}

template <typename Vcpu>
[[nodiscard]] auto read_control_register(Vcpu& cpu, unsigned number) -> std::uint64_t {
    auto& hardware = cpu.hardware();
    switch (number) {
    case 0:
        return hardware.cr0();
    case 2:
        return hardware.cr2();
    case 3:
        return hardware.cr3();
    case 4:
        return hardware.cr4();
    case 8:
        return hardware.task_priority();
    default:
        return 0;
    }
}

/// XSETBV. `index` other than 0 names no register.
template <typename Vcpu>
[[nodiscard]] auto write_extended_control_register(Vcpu& cpu, std::uint32_t index, std::uint64_t value) -> bool {
    if (index != 0 or not x86::may_write_xcr0(value, supported_xcr0(cpu.cpuid())))
        return false;
    cpu.hardware().set_xcr0(value);
    return true;
}

/// The processor's own MSRs that exist if CPUID says so.
[[nodiscard, gnu::noinline]] constexpr auto has_optional_msr(cpuid_table const& leaves, std::uint32_t index) -> bool {
    switch (index) {
    case x86::msr::ia32_tsc_adjust:
        return has_tsc_adjust(leaves);
    case x86::msr::ia32_tsc_aux:
        return has_tsc_aux(leaves);
    default:
        return index == x86::msr::ia32_xss and has_xsaves(leaves);
    }
}
template <typename Vcpu>
[[nodiscard, gnu::noinline]] auto read_optional_msr(Vcpu& cpu, std::uint32_t index) -> result<std::uint64_t> {
    if (not has_optional_msr(cpu.cpuid(), index))
        return status::not_found;
    return index == x86::msr::ia32_tsc_adjust ? cpu.tsc_adjustment()
           : index == x86::msr::ia32_tsc_aux  ? cpu.tsc_aux()
                                              : 0;
}
template <typename Vcpu>
[[nodiscard, gnu::noinline]] auto write_optional_msr(Vcpu& cpu, std::uint32_t index, std::uint64_t value) -> bool {
    if (not has_optional_msr(cpu.cpuid(), index))
        return false;
    if (index == x86::msr::ia32_tsc_adjust) {
        cpu.set_tsc_adjustment(value);
        return true;
    }
    if (index == x86::msr::ia32_xss)
        return value == 0;
    if ((value >> 32) != 0)
        return false;
    cpu.set_tsc_aux(static_cast<std::uint32_t>(value));
    return true;
}

/// Devices first, then what the processor itself holds, then the machine's table of modelled registers. not_found: #GP.
template <typename Vcpu>
[[nodiscard, gnu::noinline]] auto read_msr(Vcpu& cpu, std::uint32_t index) -> result<std::uint64_t> {
    using answer = typename Vcpu::local_board::msr_answer;
    using value_or_fault = result<std::uint64_t>;
    processor_context context{cpu};
    std::uint64_t value{};
    if (auto const found = cpu.local().read_msr(context, index, value); found != answer::not_mine)
        return found == answer::done ? value_or_fault{value} : status::not_found;
    if constexpr (Vcpu::shows_speculation_msrs)
        if (is_speculation_msr(index))
            return read_speculation_msr(cpu, index);
    switch (index) {
    case x86::msr::ia32_tsc:
        return cpu.guest_tsc();
    case x86::msr::ia32_efer:
        return cpu.hardware().efer();
    case x86::msr::ia32_tsc_adjust:
    case x86::msr::ia32_tsc_aux:
    case x86::msr::ia32_xss:
        return read_optional_msr(cpu, index);
    default:
        break;
    }
    if (auto const held = cpu.hardware().msr(index))
        return held;
    return cpu.msrs().read(index, value) ? value_or_fault{value} : status::not_found;
}

template <typename Vcpu>
[[nodiscard, gnu::noinline]] auto write_msr(Vcpu& cpu, std::uint32_t index, std::uint64_t value) -> bool {
    using answer = typename Vcpu::local_board::msr_answer;
    processor_context context{cpu};
    if (auto const found = cpu.local().write_msr(context, index, value); found != answer::not_mine)
        return found == answer::done;
    if constexpr (Vcpu::shows_speculation_msrs)
        if (is_speculation_msr(index))
            return write_speculation_msr(cpu, index, value);
    switch (index) {
    case x86::msr::ia32_tsc:
        cpu.set_tsc_adjustment(cpu.tsc_adjustment() + value - cpu.guest_tsc());
        return true;
    case x86::msr::ia32_efer: {
        auto const now = control_state_of(cpu);
        if (not x86::may_write_efer(now, value, cpu.supported_efer()))
            return false;
        cpu.hardware().set_efer(x86::efer_taken(now, value));
        return true;
    }
    case x86::msr::ia32_tsc_adjust:
    case x86::msr::ia32_tsc_aux:
    case x86::msr::ia32_xss:
        return write_optional_msr(cpu, index, value);
    case x86::msr::ia32_pat:
        return x86::is_valid_pat(value) and cpu.hardware().set_msr(index, value) == status::ok;
    default:
        break;
    }
    if (cpu.hardware().msr(index)) {
        constexpr auto canonical = [](std::uint64_t address) {
            return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16) == address;
        };
        bool const holds_address{index != x86::msr::ia32_star and index != x86::msr::ia32_fmask and
                                 index != x86::msr::ia32_sysenter_cs};
        return (not holds_address or canonical(value)) and cpu.hardware().set_msr(index, value) == status::ok;
    }
    return cpu.msrs().write(index, value);
}

} // namespace hv
