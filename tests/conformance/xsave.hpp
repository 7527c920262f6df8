// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "machine.hpp"

/// XCR0 and its instructions. SDM Vol. 1, "Managing State Using the XSAVE Feature Set".
namespace payload::xsave {

inline constexpr u64 osxsave{1u << 18}; ///< CR4
inline constexpr u64 x87{1}, sse{2}, avx{4}, pkru{1u << 9};

inline auto xgetbv(u32 index) -> u64 {
    u32 low{}, high{};
    asm volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(index));
    return u64{high} << 32 | low;
}
inline void xsetbv(u32 index, u64 value) {
    asm volatile(".byte 0x0f, 0x01, 0xd1" ::"c"(index), "a"(static_cast<u32>(value)),
                 "d"(static_cast<u32>(value >> 32)));
}

} // namespace payload::xsave
