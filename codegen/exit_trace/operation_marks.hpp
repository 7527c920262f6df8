// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// How a guest tells hv-exit-trace which operation it measures: NOPs whose displacement is a mark.
namespace hv::operation_marks {

inline constexpr std::uint32_t begin{0x6876'0001}; ///< the next operation begins
inline constexpr std::uint32_t end{0x6876'0000};   ///< it is over, or rests
inline constexpr std::uint32_t again{0x6876'0002}; ///< it goes on

} // namespace hv::operation_marks
