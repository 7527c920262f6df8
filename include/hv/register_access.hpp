// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/device_context.hpp>
#include <hv/memory/guest_walk.hpp>
#include <hv/speculation_msrs.hpp>
#include <hv/vcpu_cpuid.hpp>
#include <hv/x86/control_checks.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/memory_type.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>
#include <type_traits>

/// MSRs and control registers as one virtual processor shows them to its guest. Each write answers false where
/// the guest gets #GP(0).
namespace hv {

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

/// IA32_TSC_ADJUST, IA32_TSC_AUX and IA32_XSS, which are there if CPUID says so. Apart, so that reading others is
/// quick.
template <typename Vcpu>
[[nodiscard, gnu::noinline]] auto read_optional_msr(Vcpu& cpu, std::uint32_t index) -> result<std::uint64_t> {
    using value_or_fault = result<std::uint64_t>;
    if (index == x86::msr::ia32_tsc_adjust)
        return has_tsc_adjust(cpu.cpuid()) ? value_or_fault{cpu.tsc_adjustment()} : status::not_found;
    if (index == x86::msr::ia32_tsc_aux)
        return has_tsc_aux(cpu.cpuid()) ? value_or_fault{cpu.tsc_aux()} : status::not_found;
    return has_xsaves(cpu.cpuid()) ? value_or_fault{0} : status::not_found;
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
    register_context context{cpu};
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
        if (not has_tsc_adjust(cpu.cpuid()))
            return false;
        cpu.set_tsc_adjustment(value);
        return true;
    case x86::msr::ia32_tsc_aux:
        if ((value >> 32) != 0 or not has_tsc_aux(cpu.cpuid()))
            return false;
        cpu.set_tsc_aux(static_cast<std::uint32_t>(value));
        return true;
    case x86::msr::ia32_xss:
        return value == 0 and has_xsaves(cpu.cpuid());
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
