// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>

namespace hv::bare {

/// What traps.S leaves on the stack for every vector; an exception without an error code has 0 there.
struct trap_frame {
    std::uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    std::uint64_t vector;
    std::uint64_t error_code;
    std::uint64_t rip, cs, rflags, rsp, ss;
};
static_assert(sizeof(trap_frame) == 22 * 8 and offsetof(trap_frame, vector) == 15 * 8);

/// The vectors that this host uses: NMI, and those beyond the processor's own 32.
namespace vector {
inline constexpr std::uint8_t nmi{2};
inline constexpr std::uint8_t first_interrupt{32};
inline constexpr std::uint8_t legacy_pic{32}; ///< sixteen, masked; only their spurious ones ever come
inline constexpr std::uint8_t timer{48};
inline constexpr std::uint8_t serial{49};
inline constexpr std::uint8_t processor_timer{50}; ///< where several processors run machines: each has its own
inline constexpr std::uint8_t kick{51};            ///< makes a processor look what is new
inline constexpr std::uint8_t processor_call{52};  ///< another waits for what it asked for
inline constexpr std::uint8_t spurious{255};
} // namespace vector

} // namespace hv::bare
