// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/registers.hpp>

#include <cstdint>

namespace hv::x86 {

/// Parts of a segment selector. SDM Vol. 3A, "Segment Selectors".
namespace selector {
inline constexpr std::uint16_t rpl{3};
inline constexpr std::uint16_t local{1u << 2}; ///< TI: the LDT has the descriptor

[[nodiscard]] constexpr auto is_null(std::uint16_t s) -> bool {
    return (s & ~rpl) == 0;
}
/// Where in its table the descriptor lies.
[[nodiscard]] constexpr auto offset(std::uint16_t s) -> std::uint32_t {
    return s & 0xfff8u;
}
/// The selector as an error code has it; EXT is the caller's. SDM Vol. 3A, "Error Code".
[[nodiscard]] constexpr auto error_code(std::uint16_t s) -> std::uint32_t {
    return s & 0xfffcu;
}
} // namespace selector

/// Types of system segments. SDM Vol. 3A, "System Descriptor Types".
namespace system_type {
inline constexpr std::uint32_t tss_16{1};
inline constexpr std::uint32_t ldt{2};
inline constexpr std::uint32_t tss_32{9};
inline constexpr std::uint32_t busy{1u << 1};          ///< of both kinds of TSS
inline constexpr std::uint32_t is_32_bit_tss{1u << 3}; ///< what tells them apart
} // namespace system_type

/// The segment register that eight bytes of a descriptor table make. SDM Vol. 3A, "Segment Descriptors".
[[nodiscard]] constexpr auto segment_of(std::uint64_t descriptor, std::uint16_t selector) -> segment {
    segment s{.base = (descriptor >> 16 & 0xff'ffff) | descriptor >> 56 << 24,
              .limit = static_cast<std::uint32_t>((descriptor & 0xffff) | (descriptor >> 32 & 0xf'0000)),
              .access = static_cast<std::uint32_t>(descriptor >> 40 & 0xf0ff),
              .selector = selector};
    if ((s.access & segment_access::granularity) != 0)
        s.limit = s.limit << 12 | 0xfff;
    return s;
}

static_assert(segment_of(0x12cf'9b34'5678'ffff, 8) ==
              segment{.base = 0x1234'5678, .limit = 0xffff'ffff, .access = 0xc09b, .selector = 8});
static_assert(segment_of(0x0001'8900'0000'0067, 0x30).limit == 0x1'0067);

} // namespace hv::x86
