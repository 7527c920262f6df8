// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/status.hpp>
#include <hv/x86/apic.hpp>
#include <hv/x86/msr.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

/// Which MSRs a guest reaches without an exit; ports always exit. SDM Vol. 3C, "MSR-Bitmap Address".
namespace hv::backends::vmx {

inline constexpr std::size_t msr_permission_map_size{page_size};

/// Where the MSR bitmaps hold the read bit of an MSR; the write bit is 4000h bits behind. out_of_range if the map does
/// not cover it: such an MSR always exits.
[[nodiscard]] constexpr auto msr_permission_bit(std::uint32_t index) -> result<std::uint32_t> {
    constexpr std::uint32_t msrs_per_region{0x2000};
    if (index < msrs_per_region)
        return index;
    if (index - 0xc000'0000 < msrs_per_region)
        return msrs_per_region + (index - 0xc000'0000);
    return status::out_of_range;
}
inline constexpr std::uint32_t msr_write_bit{0x4000};
static_assert(msr_permission_bit(0x277).value == 0x277);
static_assert(msr_permission_bit(0xc000'0080).value == 0x400 * 8 + 0x80);
static_assert(msr_permission_bit(0xc000'1fff).value + msr_write_bit == 8 * 0x1000 - 1);
static_assert(msr_permission_bit(0xc001'0000).error == status::out_of_range);

/// Whether the guest may own this MSR: only those that the VMCS or the vCPU switches.
[[nodiscard]] constexpr auto is_switched(std::uint32_t index) -> bool {
    switch (index) {
    case x86::msr::ia32_sysenter_cs:
    case x86::msr::ia32_sysenter_esp:
    case x86::msr::ia32_sysenter_eip:
    case x86::msr::ia32_star:
    case x86::msr::ia32_lstar:
    case x86::msr::ia32_cstar:
    case x86::msr::ia32_fmask:
    case x86::msr::ia32_fs_base:
    case x86::msr::ia32_gs_base:
    case x86::msr::ia32_kernel_gs_base:
        return true;
    default:
        return false;
    }
}

/// Fills the MSR bitmaps: all exit but `direct`. invalid_argument if one of those is not switched; then the map lets
/// nothing through.
[[nodiscard]] constexpr auto fill_msr_permissions(std::span<std::byte, msr_permission_map_size> map,
                                                  std::span<std::uint32_t const> direct) -> status {
    for (auto& byte : map)
        byte = std::byte{0xff};
    for (auto const index : direct)
        if (not is_switched(index))
            return status::invalid_argument;
    for (auto const index : direct)
        for (auto const bit :
             std::array{msr_permission_bit(index).value, msr_permission_bit(index).value + msr_write_bit})
            map[bit / 8] &= ~(std::byte{1} << (bit % 8));
    return status::ok;
}

/// Lets a guest in x2APIC mode at what the processor answers: reads of these registers, a bit each, and writes of TPR,
/// EOI and self IPI. Every other access must exit, or it would reach the host's APIC. SDM Vol. 3C, "Virtualizing
/// MSR-Based APIC Accesses".
constexpr void permit_x2apic(std::span<std::byte, msr_permission_map_size> map, std::uint64_t readable) {
    auto const permit = [map](std::uint32_t bit) { map[bit / 8] &= ~(std::byte{1} << (bit % 8)); };
    for (unsigned number{0}; number < 64; ++number)
        if ((readable >> number & 1) != 0)
            permit(x86::msr::x2apic_first + number);
    for (auto const number :
         {x86::apic::reg::task_priority, x86::apic::reg::end_of_interrupt, x86::apic::reg::self_ipi})
        permit(x86::msr::x2apic_first + static_cast<unsigned>(number) + msr_write_bit);
}

} // namespace hv::backends::vmx
