// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// SDM Vol. 3A, "Control Registers" and "Extended Feature Enable Register"; APM Vol. 2, "System-Control Registers".
namespace hv::x86 {

namespace cr0 {
inline constexpr std::uint64_t pe{1u << 0};
inline constexpr std::uint64_t mp{1u << 1};
inline constexpr std::uint64_t em{1u << 2};
inline constexpr std::uint64_t ts{1u << 3};
inline constexpr std::uint64_t et{1u << 4};
inline constexpr std::uint64_t ne{1u << 5};
inline constexpr std::uint64_t wp{1u << 16};
inline constexpr std::uint64_t am{1u << 18};
inline constexpr std::uint64_t nw{1u << 29};
inline constexpr std::uint64_t cd{1u << 30};
inline constexpr std::uint64_t pg{1u << 31};
inline constexpr std::uint64_t defined{pe | mp | em | ts | et | ne | wp | am | nw | cd | pg};
} // namespace cr0

namespace cr3 {
inline constexpr std::uint64_t no_flush{1ull << 63}; ///< of a MOV to CR3 with CR4.PCIDE; never part of the register
} // namespace cr3

namespace cr4 {
inline constexpr std::uint64_t vme{1u << 0};
inline constexpr std::uint64_t pvi{1u << 1};
inline constexpr std::uint64_t tsd{1u << 2};
inline constexpr std::uint64_t de{1u << 3};
inline constexpr std::uint64_t pse{1u << 4};
inline constexpr std::uint64_t pae{1u << 5};
inline constexpr std::uint64_t mce{1u << 6};
inline constexpr std::uint64_t pge{1u << 7};
inline constexpr std::uint64_t pce{1u << 8};
inline constexpr std::uint64_t osfxsr{1u << 9};
inline constexpr std::uint64_t osxmmexcpt{1u << 10};
inline constexpr std::uint64_t umip{1u << 11};
inline constexpr std::uint64_t la57{1u << 12};
inline constexpr std::uint64_t vmxe{1u << 13};
inline constexpr std::uint64_t smxe{1u << 14};
inline constexpr std::uint64_t fsgsbase{1u << 16};
inline constexpr std::uint64_t pcide{1u << 17};
inline constexpr std::uint64_t osxsave{1u << 18};
inline constexpr std::uint64_t smep{1u << 20};
inline constexpr std::uint64_t smap{1u << 21};
inline constexpr std::uint64_t pke{1u << 22};
inline constexpr std::uint64_t cet{1u << 23};
} // namespace cr4

/// SDM Vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features".
namespace xcr0 {
inline constexpr std::uint64_t x87{1u << 0};
inline constexpr std::uint64_t sse{1u << 1};
inline constexpr std::uint64_t avx{1u << 2};
} // namespace xcr0

namespace efer {
inline constexpr std::uint64_t sce{1u << 0};
inline constexpr std::uint64_t lme{1u << 8};
inline constexpr std::uint64_t lma{1u << 10};
inline constexpr std::uint64_t nxe{1u << 11};
inline constexpr std::uint64_t svme{1u << 12};
inline constexpr std::uint64_t lmsle{1u << 13};
inline constexpr std::uint64_t ffxsr{1u << 14};
inline constexpr std::uint64_t tce{1u << 15};
} // namespace efer

namespace rflags {
inline constexpr std::uint64_t cf{1u << 0};
inline constexpr std::uint64_t fixed_one{1u << 1};
inline constexpr std::uint64_t pf{1u << 2};
inline constexpr std::uint64_t af{1u << 4};
inline constexpr std::uint64_t zf{1u << 6};
inline constexpr std::uint64_t sf{1u << 7};
inline constexpr std::uint64_t tf{1u << 8};
inline constexpr std::uint64_t interrupt{1u << 9}; ///< IF
inline constexpr std::uint64_t df{1u << 10};
inline constexpr std::uint64_t of{1u << 11};
inline constexpr std::uint64_t iopl{3u << 12};
inline constexpr std::uint64_t nt{1u << 14};
inline constexpr std::uint64_t rf{1u << 16};
inline constexpr std::uint64_t vm{1u << 17};
inline constexpr std::uint64_t ac{1u << 18};
} // namespace rflags

} // namespace hv::x86
