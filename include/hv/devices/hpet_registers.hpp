// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// The registers of an HPET. IA-PC HPET Specification 1.0a, "Register Overview".
namespace hv::hpet_registers {

inline constexpr std::uint64_t at_capabilities{0x000};
inline constexpr std::uint64_t at_configuration{0x010};
inline constexpr std::uint64_t at_interrupt_status{0x020};
inline constexpr std::uint64_t at_main_counter{0x0f0};
inline constexpr std::uint64_t at_timers{0x100};
inline constexpr std::uint64_t timer_stride{0x20};
inline constexpr std::uint64_t at_timer_configuration{0x00};
inline constexpr std::uint64_t at_timer_comparator{0x08};
inline constexpr std::uint64_t at_timer_message{0x10};

/// General configuration: the counter runs and timers interrupt.
inline constexpr std::uint64_t enable{1u << 0};

/// General capabilities: period in femtoseconds 63:32, vendor 31:16, last timer 12:8, revision 7:0. The counter is 32
/// bits wide (bit 13 clear) and there is no legacy replacement route (bit 15 clear).
[[nodiscard]] constexpr auto capabilities(std::uint64_t frequency, unsigned timers) -> std::uint64_t {
    constexpr std::uint64_t femtoseconds_per_second{1'000'000'000'000'000};
    return femtoseconds_per_second / frequency << 32 | std::uint64_t{0x8086} << 16 | (timers - 1) << 8 | 1;
}

// Timer configuration and capability.
inline constexpr std::uint64_t level{1u << 1};
inline constexpr std::uint64_t interrupt_enable{1u << 2};
inline constexpr std::uint64_t periodic{1u << 3};
inline constexpr std::uint64_t periodic_capable{1u << 4};
inline constexpr std::uint64_t value_set{1u << 6};
inline constexpr std::uint64_t route{0x1fu << 9};
inline constexpr unsigned route_shift{9};
inline constexpr std::uint64_t fsb_enable{1u << 14};
inline constexpr std::uint64_t fsb_capable{1u << 15};
inline constexpr unsigned route_capable_shift{32};
inline constexpr std::uint64_t routes{0xff000000}; ///< a bit for each line that a timer can reach

inline constexpr std::uint64_t capabilities_of_timer{routes << route_capable_shift | fsb_capable | periodic_capable};
inline constexpr std::uint64_t writable_of_timer{level | interrupt_enable | periodic | value_set | route | fsb_enable};

/// What a timer's configuration holds after `value` was written: read-only bits as they are, a route that the timer
/// cannot reach becomes none, and messages are always edges.
[[nodiscard]] constexpr auto legal_config(std::uint64_t value) -> std::uint64_t {
    auto config = (value & writable_of_timer) | capabilities_of_timer;
    if ((routes >> ((config & route) >> route_shift) & 1) == 0)
        config &= ~route;
    if ((config & fsb_enable) != 0)
        config &= ~level;
    return config;
}

} // namespace hv::hpet_registers
