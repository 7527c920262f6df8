// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/exit.hpp>
#include <hv/meta/tuple.hpp>

#include <array>
#include <cstddef>

namespace hv::exits {

/// Every kind of exit, in the order in which tables of them are kept and printed.
using all =
    meta::types<io_port, cpuid, hlt, msr_read, msr_write, nested_page_fault, control_register, debug_register,
                descriptor_table, exception, hypercall, undefined_instruction, xsetbv, cache_control, pause, monitor,
                mwait, tsc_read, rdpmc, apic_write, end_of_interrupt, interrupt_window, nmi_window, host_interrupt,
                deadline, machine_check, task_switch, triple_fault, entry_failed, isolation_broken, unknown>;

template <typename Exit>
inline constexpr std::size_t number_of = meta::index_in<Exit, all>;

/// Exits that one instruction of the guest asks for and that leave its interrupts alone, but for what devices do
/// meanwhile.
using of_instructions = meta::types<io_port, cpuid, msr_read, msr_write, nested_page_fault, hypercall, pause, tsc_read>;

template <typename Exit>
inline constexpr bool is_of_instruction = meta::contains<Exit, of_instructions>;

/// Exits in place of an instruction, before any of it was executed. None of them interrupts the delivery of an event:
/// that was over when the instruction began. SDM Vol. 3C, "Information for VM Exits That Occur During Event Delivery";
/// APM Vol. 2, "Event Injection" on EXITINTINFO.
using of_intercepts = meta::types<io_port, cpuid, hlt, msr_read, msr_write, hypercall, pause, tsc_read>;

template <typename Exit>
inline constexpr bool is_intercept = meta::contains<Exit, of_intercepts>;

/// Exits that guests seldom take: what comes before their service may stand apart.
using rare = meta::types<control_register, debug_register, descriptor_table, exception, undefined_instruction, xsetbv,
                         cache_control, monitor, mwait, rdpmc, nmi_window, machine_check, task_switch, triple_fault,
                         entry_failed, isolation_broken, unknown>;

template <typename Exit>
inline constexpr bool is_rare = meta::contains<Exit, rare>;

namespace detail {
template <typename List>
inline constexpr std::array<char const*, 0> names_of{};
template <typename... Exits>
inline constexpr std::array<char const*, sizeof...(Exits)> names_of<meta::types<Exits...>>{Exits::name...};
} // namespace detail

/// The printed names, by number.
inline constexpr auto const& names = detail::names_of<all>;

} // namespace hv::exits
