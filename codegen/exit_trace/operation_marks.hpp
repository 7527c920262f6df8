// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// How a guest tells hv-exit-trace which operation it measures: NOPs whose displacement is a mark.
namespace hv::operation_marks {

inline constexpr std::uint32_t begin{0x6876'0001}; ///< the next operation begins
inline constexpr std::uint32_t end{0x6876'0000};   ///< it is over, or rests
inline constexpr std::uint32_t again{0x6876'0002}; ///< it goes on

/// The same for hv-sharing, where the operations of several processors mix: the number of the operation is added, from
/// 1, or 0 where it is over.
inline constexpr std::uint32_t numbered{0x6877'0000};

} // namespace hv::operation_marks
