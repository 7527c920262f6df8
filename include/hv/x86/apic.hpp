// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

/// The local APIC as the processor shows it. SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)".
namespace hv::x86::apic {

/// Where every processor finds its local APIC after reset.
inline constexpr std::uint64_t default_base{0xfee00000};

/// Bits of IA32_APIC_BASE. SDM Vol. 3A, "Local APIC Status and Location".
namespace base {
inline constexpr std::uint64_t bootstrap_processor{1u << 8};
inline constexpr std::uint64_t extended{1u << 10}; ///< x2APIC mode, with enable
inline constexpr std::uint64_t enable{1u << 11};
} // namespace base

/// Registers by number: the xAPIC's address is 16 times the number, the x2APIC's MSR is 800h plus the number.
/// ISR, TMR and IRR are eight consecutive registers each. SDM Vol. 3A, "Local APIC Register Address Map".
enum class reg : std::uint8_t {
    id = 0x02,
    version = 0x03,
    task_priority = 0x08,
    arbitration_priority = 0x09, ///< xAPIC only
    processor_priority = 0x0a,
    end_of_interrupt = 0x0b,
    remote_read = 0x0c, ///< xAPIC only
    logical_destination = 0x0d,
    destination_format = 0x0e, ///< xAPIC only
    spurious_interrupt_vector = 0x0f,
    in_service = 0x10,
    trigger_mode = 0x18,
    interrupt_request = 0x20,
    error_status = 0x28,
    lvt_cmci = 0x2f,
    interrupt_command = 0x30,
    interrupt_command_high = 0x31, ///< xAPIC only: the x2APIC's ICR is one 64-bit register
    lvt_timer = 0x32,
    lvt_thermal_sensor = 0x33,
    lvt_performance_counter = 0x34,
    lvt_lint0 = 0x35,
    lvt_lint1 = 0x36,
    lvt_error = 0x37,
    initial_count = 0x38,
    current_count = 0x39,
    divide_configuration = 0x3e,
    self_ipi = 0x3f, ///< x2APIC only
};

/// The registers as they lie in memory: each in the first four of its sixteen bytes, and in the next four the upper
/// half of what x2APIC mode makes one register.
struct page {
    std::array<std::uint32_t, 1024> words{};

    /// The register, or the one `behind` places after it.
    [[nodiscard]] constexpr auto at(reg r, unsigned behind = 0) -> std::uint32_t& {
        return words[(static_cast<std::size_t>(r) + behind) % 256 * 4];
    }
    [[nodiscard]] constexpr auto at(reg r, unsigned behind = 0) const -> std::uint32_t {
        return words[(static_cast<std::size_t>(r) + behind) % 256 * 4];
    }
    [[nodiscard]] constexpr auto upper_half(reg r) -> std::uint32_t& {
        return words[static_cast<std::size_t>(r) * 4 + 1];
    }
    /// The highest vector in the eight registers that begin here (ISR, TMR, IRR); 0 if there is none.
    [[nodiscard]] constexpr auto highest(reg first) const -> std::uint8_t {
        for (unsigned i{8}; i-- > 0;)
            if (auto const bits = at(first, i); bits != 0)
                return static_cast<std::uint8_t>(i * 32 + static_cast<unsigned>(std::bit_width(bits)) - 1);
        return 0;
    }
};
static_assert(sizeof(page) == 0x1000);

/// Spurious-interrupt vector register.
namespace svr {
inline constexpr std::uint32_t vector{0xff};
inline constexpr std::uint32_t software_enable{1u << 8};
inline constexpr std::uint32_t focus_processor_checking{1u << 9};
} // namespace svr

/// Local vector table. SDM Vol. 3A, "Local Vector Table".
namespace lvt {
inline constexpr std::uint32_t vector{0xff};
inline constexpr std::uint32_t delivery_mode{7u << 8};
inline constexpr unsigned delivery_mode_shift{8};
inline constexpr std::uint32_t delivery_status{1u << 12};
inline constexpr std::uint32_t polarity{1u << 13};
inline constexpr std::uint32_t remote_irr{1u << 14};
inline constexpr std::uint32_t level{1u << 15};
inline constexpr std::uint32_t masked{1u << 16};
inline constexpr std::uint32_t timer_mode{3u << 17};
inline constexpr unsigned timer_mode_shift{17};
} // namespace lvt

/// Interrupt command register.
namespace icr {
inline constexpr std::uint32_t vector{0xff};
inline constexpr std::uint32_t delivery_mode{7u << 8};
inline constexpr unsigned delivery_mode_shift{8};
inline constexpr std::uint32_t logical{1u << 11};
inline constexpr std::uint32_t delivery_status{1u << 12};
inline constexpr std::uint32_t assert_level{1u << 14};
inline constexpr std::uint32_t level{1u << 15};
inline constexpr std::uint32_t shorthand{3u << 18};
inline constexpr unsigned shorthand_shift{18};
inline constexpr unsigned xapic_destination_shift{56};
inline constexpr unsigned x2apic_destination_shift{32};
} // namespace icr

/// Error status register. SDM Vol. 3A, "Error Handling".
namespace esr {
inline constexpr std::uint32_t send_checksum{1u << 0};
inline constexpr std::uint32_t receive_checksum{1u << 1};
inline constexpr std::uint32_t send_accept{1u << 2};
inline constexpr std::uint32_t receive_accept{1u << 3};
inline constexpr std::uint32_t send_illegal_vector{1u << 5};
inline constexpr std::uint32_t receive_illegal_vector{1u << 6};
inline constexpr std::uint32_t illegal_register_address{1u << 7};
} // namespace esr

/// Vectors below are reserved for exceptions: an APIC neither sends nor accepts them.
inline constexpr std::uint8_t first_legal_vector{16};

/// The logical destination of an x2APIC: cluster 31:16, one bit of 15:0. SDM Vol. 3A, "Deriving Logical x2APIC ID from
/// the Local x2APIC ID".
[[nodiscard]] constexpr auto logical_x2apic_id(std::uint32_t id) -> std::uint32_t {
    return (id >> 4) << 16 | std::uint32_t{1} << (id & 15);
}
static_assert(logical_x2apic_id(0x1f) == 0x0001'8000 and logical_x2apic_id(0xffff'ffff) == 0xffff'8000);

} // namespace hv::x86::apic
