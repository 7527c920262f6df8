// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::x86 {

/// SDM Vol. 3A, "Protected-Mode Exceptions and Interrupts".
enum class exception : std::uint8_t {
    divide_error = 0,
    debug = 1,
    nmi = 2,
    breakpoint = 3,
    overflow = 4,
    bound_range = 5,
    invalid_opcode = 6,
    device_not_available = 7,
    double_fault = 8,
    invalid_tss = 10,
    segment_not_present = 11,
    stack_fault = 12,
    general_protection = 13,
    page_fault = 14,
    x87_floating_point = 16,
    alignment_check = 17,
    machine_check = 18,
    simd_floating_point = 19,
    virtualization = 20,
    control_protection = 21,
};

/// Whether delivery of this vector pushes an error code. SDM Vol. 3A, "Error Code".
[[nodiscard]] constexpr auto has_error_code(exception vector) -> bool {
    constexpr std::uint32_t with_error_code{1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 |
                                            1u << 21};
    return (with_error_code >> static_cast<unsigned>(vector) & 1) != 0;
}

/// Page-fault error code. SDM Vol. 3A, "Page-Fault Error Code".
namespace page_fault_error {
inline constexpr std::uint32_t present{1u << 0};
inline constexpr std::uint32_t write{1u << 1};
inline constexpr std::uint32_t user{1u << 2};
inline constexpr std::uint32_t reserved{1u << 3};
inline constexpr std::uint32_t fetch{1u << 4};
} // namespace page_fault_error

} // namespace hv::x86
