// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// CPUID feature bits by their manuals' names. SDM Vol. 2A, "CPUID—CPU Identification"; APM Vol. 3, "Obtaining
/// Processor Information Via the CPUID Instruction".
namespace hv::x86::cpuid_bits {

namespace leaf1_ecx {
inline constexpr std::uint32_t sse3{1u << 0};
inline constexpr std::uint32_t pclmulqdq{1u << 1};
inline constexpr std::uint32_t monitor{1u << 3};
inline constexpr std::uint32_t vmx{1u << 5};
inline constexpr std::uint32_t ssse3{1u << 9};
inline constexpr std::uint32_t fma{1u << 12};
inline constexpr std::uint32_t cmpxchg16b{1u << 13};
inline constexpr std::uint32_t pdcm{1u << 15};
inline constexpr std::uint32_t pcid{1u << 17};
inline constexpr std::uint32_t sse4_1{1u << 19};
inline constexpr std::uint32_t sse4_2{1u << 20};
inline constexpr std::uint32_t x2apic{1u << 21};
inline constexpr std::uint32_t movbe{1u << 22};
inline constexpr std::uint32_t popcnt{1u << 23};
inline constexpr std::uint32_t tsc_deadline{1u << 24};
inline constexpr std::uint32_t aes{1u << 25};
inline constexpr std::uint32_t xsave{1u << 26};
inline constexpr std::uint32_t osxsave{1u << 27};
inline constexpr std::uint32_t avx{1u << 28};
inline constexpr std::uint32_t f16c{1u << 29};
inline constexpr std::uint32_t rdrand{1u << 30};
inline constexpr std::uint32_t hypervisor{1u << 31};
} // namespace leaf1_ecx

namespace leaf1_edx {
inline constexpr std::uint32_t fpu{1u << 0};
inline constexpr std::uint32_t vme{1u << 1};
inline constexpr std::uint32_t de{1u << 2};
inline constexpr std::uint32_t pse{1u << 3};
inline constexpr std::uint32_t tsc{1u << 4};
inline constexpr std::uint32_t msr{1u << 5};
inline constexpr std::uint32_t pae{1u << 6};
inline constexpr std::uint32_t mce{1u << 7};
inline constexpr std::uint32_t cx8{1u << 8};
inline constexpr std::uint32_t apic{1u << 9};
inline constexpr std::uint32_t sep{1u << 11};
inline constexpr std::uint32_t mtrr{1u << 12};
inline constexpr std::uint32_t pge{1u << 13};
inline constexpr std::uint32_t mca{1u << 14};
inline constexpr std::uint32_t cmov{1u << 15};
inline constexpr std::uint32_t pat{1u << 16};
inline constexpr std::uint32_t pse36{1u << 17};
inline constexpr std::uint32_t clfsh{1u << 19};
inline constexpr std::uint32_t mmx{1u << 23};
inline constexpr std::uint32_t fxsr{1u << 24};
inline constexpr std::uint32_t sse{1u << 25};
inline constexpr std::uint32_t sse2{1u << 26};
inline constexpr std::uint32_t htt{1u << 28};
} // namespace leaf1_edx

namespace leaf7_ebx {
inline constexpr std::uint32_t fsgsbase{1u << 0};
inline constexpr std::uint32_t tsc_adjust{1u << 1};
inline constexpr std::uint32_t bmi1{1u << 3};
inline constexpr std::uint32_t avx2{1u << 5};
inline constexpr std::uint32_t smep{1u << 7};
inline constexpr std::uint32_t bmi2{1u << 8};
inline constexpr std::uint32_t erms{1u << 9};
inline constexpr std::uint32_t invpcid{1u << 10};
inline constexpr std::uint32_t rtm{1u << 11};
inline constexpr std::uint32_t rdseed{1u << 18};
inline constexpr std::uint32_t adx{1u << 19};
inline constexpr std::uint32_t smap{1u << 20};
inline constexpr std::uint32_t clflushopt{1u << 23};
inline constexpr std::uint32_t clwb{1u << 24};
inline constexpr std::uint32_t sha{1u << 29};
} // namespace leaf7_ebx

namespace leaf7_ecx {
inline constexpr std::uint32_t umip{1u << 2};
inline constexpr std::uint32_t ospke{1u << 4};
inline constexpr std::uint32_t rdpid{1u << 22};
} // namespace leaf7_ecx

namespace leaf7_edx {
inline constexpr std::uint32_t fsrm{1u << 4};
inline constexpr std::uint32_t md_clear{1u << 10};
inline constexpr std::uint32_t ibrs_ibpb{1u << 26};
inline constexpr std::uint32_t stibp{1u << 27};
inline constexpr std::uint32_t l1d_flush{1u << 28};
inline constexpr std::uint32_t arch_capabilities{1u << 29};
inline constexpr std::uint32_t ssbd{1u << 31};
} // namespace leaf7_edx

namespace extended1_ecx {
inline constexpr std::uint32_t lahf{1u << 0};
inline constexpr std::uint32_t cmp_legacy{1u << 1};
inline constexpr std::uint32_t svm{1u << 2};
inline constexpr std::uint32_t alt_mov_cr8{1u << 4};
inline constexpr std::uint32_t abm{1u << 5};
inline constexpr std::uint32_t sse4a{1u << 6};
inline constexpr std::uint32_t misaligned_sse{1u << 7};
inline constexpr std::uint32_t prefetch_3dnow{1u << 8};
inline constexpr std::uint32_t topology_extensions{1u << 22};
} // namespace extended1_ecx

namespace extended1_edx {
inline constexpr std::uint32_t syscall{1u << 11};
inline constexpr std::uint32_t nx{1u << 20};
inline constexpr std::uint32_t mmx_extensions{1u << 22};
inline constexpr std::uint32_t ffxsr{1u << 25};
inline constexpr std::uint32_t page_1gib{1u << 26};
inline constexpr std::uint32_t rdtscp{1u << 27};
inline constexpr std::uint32_t long_mode{1u << 29};
inline constexpr std::uint32_t extensions_3dnow{1u << 30};
inline constexpr std::uint32_t now_3d{1u << 31};
} // namespace extended1_edx

namespace extended8_ebx {
inline constexpr std::uint32_t ibpb{1u << 12};
inline constexpr std::uint32_t ibrs{1u << 14};
inline constexpr std::uint32_t stibp{1u << 15};
inline constexpr std::uint32_t ssbd{1u << 24};
inline constexpr std::uint32_t psfd{1u << 28};
} // namespace extended8_ebx

/// Leaf 8000_0021h.
namespace extended21_eax {
inline constexpr std::uint32_t verw_clear{1u << 5};
inline constexpr std::uint32_t srso_no{1u << 29};
} // namespace extended21_eax

namespace extended21_ecx {
inline constexpr std::uint32_t tsa_sq_no{1u << 1};
inline constexpr std::uint32_t tsa_l1_no{1u << 2};
} // namespace extended21_ecx

inline constexpr std::uint32_t xsaveopt{1u << 0};      ///< leaf Dh subleaf 1 EAX
inline constexpr std::uint32_t xsavec{1u << 1};        ///< leaf Dh subleaf 1 EAX
inline constexpr std::uint32_t xgetbv_in_use{1u << 2}; ///< leaf Dh subleaf 1 EAX
inline constexpr std::uint32_t xsaves{1u << 3};        ///< leaf Dh subleaf 1 EAX
inline constexpr std::uint32_t invariant_tsc{1u << 8}; ///< leaf 8000_0007h EDX

} // namespace hv::x86::cpuid_bits
