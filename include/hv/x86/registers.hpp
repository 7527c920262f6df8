// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstdint>

namespace hv::x86 {

/// General-purpose registers in the order of their encoding. SDM Vol. 2A, "REX Prefixes".
enum class gpr : std::uint8_t { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };
inline constexpr unsigned gpr_count{16};

/// Segment registers: first six in the order of their encoding, then the two system segments.
enum class segment_name : std::uint8_t { es, cs, ss, ds, fs, gs, ldtr, tr };
inline constexpr unsigned segment_count{8};

/// A segment register with its hidden part. `access` has the layout of the VMX access-rights field.
/// SDM Vol. 3C, "Format of Access Rights": type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
struct segment {
    std::uint64_t base{};
    std::uint32_t limit{}; ///< in bytes, after granularity
    std::uint32_t access{};
    std::uint16_t selector{};

    constexpr auto operator==(segment const&) const -> bool = default;
};

namespace segment_access {
inline constexpr std::uint32_t type{0xf};
inline constexpr std::uint32_t accessed{1u << 0};
inline constexpr std::uint32_t writable{1u << 1};    ///< data segments; for code segments the bit means readable
inline constexpr std::uint32_t expand_down{1u << 2}; ///< data segments; for code segments the bit means conforming
inline constexpr std::uint32_t code{1u << 3};
inline constexpr std::uint32_t not_system{1u << 4};
inline constexpr std::uint32_t dpl{3u << 5};
inline constexpr unsigned dpl_shift{5};
inline constexpr std::uint32_t present{1u << 7};
inline constexpr std::uint32_t available{1u << 12};
inline constexpr std::uint32_t long_mode{1u << 13};
inline constexpr std::uint32_t default_big{1u << 14};
inline constexpr std::uint32_t granularity{1u << 15};
inline constexpr std::uint32_t unusable{1u << 16};
} // namespace segment_access

/// GDTR or IDTR.
struct descriptor_table {
    std::uint64_t base{};
    std::uint16_t limit{};

    constexpr auto operator==(descriptor_table const&) const -> bool = default;
};

/// How code runs: it decides operand and address sizes and which checks apply.
/// SDM Vol. 3A, "Modes of Operation".
enum class cpu_mode : std::uint8_t { real, protected_mode, compatibility, long_mode };

/// Everything CPUID returns for one leaf.
struct cpuid_result {
    std::uint32_t eax{}, ebx{}, ecx{}, edx{};

    constexpr auto operator==(cpuid_result const&) const -> bool = default;
};

} // namespace hv::x86
