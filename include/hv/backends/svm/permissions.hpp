// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/status.hpp>
#include <hv/x86/msr.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

/// Which ports and MSRs a guest reaches without an exit. APM Vol. 2, "IOIO Intercepts" and "MSR Intercepts".
namespace hv::backends::svm {

inline constexpr std::size_t io_permission_map_size{3 * page_size};
inline constexpr std::size_t msr_permission_map_size{2 * page_size};

/// Where the MSR permission map holds the read bit of an MSR; the write bit follows. out_of_range if the map does not
/// cover it: such an MSR always exits.
[[nodiscard]] constexpr auto msr_permission_bit(std::uint32_t index) -> result<std::uint32_t> {
    constexpr std::array<std::uint32_t, 3> first_of_region{0x0000'0000, 0xc000'0000, 0xc001'0000};
    constexpr std::uint32_t msrs_per_region{0x2000};
    for (std::uint32_t region{0}; region < first_of_region.size(); ++region)
        if (index - first_of_region[region] < msrs_per_region)
            return 2 * (region * msrs_per_region + (index - first_of_region[region]));
    return status::out_of_range;
}
static_assert(msr_permission_bit(0x277).value == 0x4ee);
static_assert(msr_permission_bit(0xc000'0080).value == 0x800 * 8 + 0x100);
static_assert(msr_permission_bit(0xc001'1fff).value == 0x1800 * 8 - 2);
static_assert(msr_permission_bit(0x4000'0000).error == status::out_of_range);

/// Whether the guest may own this MSR: only those that VMLOAD and VMSAVE switch. PAT has its place in the VMCB too, but
/// QEMU 7.2 lets a guest's write through to the host's PAT.
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

/// Fills an MSR permission map: all exit but `direct`. invalid_argument if one of those is not switched; then the map
/// lets nothing through.
[[nodiscard]] constexpr auto fill_msr_permissions(std::span<std::byte, msr_permission_map_size> map,
                                                  std::span<std::uint32_t const> direct) -> status {
    for (auto& byte : map)
        byte = std::byte{0xff};
    for (auto const index : direct)
        if (not is_switched(index))
            return status::invalid_argument;
    for (auto const index : direct) {
        auto const bit = msr_permission_bit(index).value;
        map[bit / 8] &= ~(std::byte{3} << (bit % 8));
    }
    return status::ok;
}

} // namespace hv::backends::svm
