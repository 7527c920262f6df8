// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/lapic_route.hpp>
#include <hv/devices/lapic_timer.hpp>
#include <hv/devices/vector_set.hpp>
#include <hv/interrupt.hpp>
#include <hv/x86/apic.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// A local source of interrupts, one entry of the local vector table each; numbered as the reference interface does.
enum class local_source : std::uint8_t { lint0, lint1, timer, error, performance_counter, thermal_sensor, cmci };
inline constexpr unsigned local_source_count{7};

/// Bits of an LVT entry that software can write. SDM Vol. 3A, "Local Vector Table (LVT)".
[[nodiscard]] constexpr auto lvt_writable(local_source source) -> std::uint32_t {
    namespace lvt = x86::apic::lvt;
    switch (source) {
    case local_source::timer:
        return lvt::vector | lvt::masked | lvt::timer_mode;
    case local_source::error:
        return lvt::vector | lvt::masked;
    case local_source::lint0:
    case local_source::lint1:
        return lvt::vector | lvt::delivery_mode | lvt::polarity | lvt::level | lvt::masked;
    default:
        return lvt::vector | lvt::delivery_mode | lvt::masked;
    }
}

/// Which registers exist in which mode, as sets of register numbers below 64.
namespace lapic_access {

using x86::apic::reg;

[[nodiscard]] constexpr auto set_of(reg first, unsigned count = 1) -> std::uint64_t {
    return ((std::uint64_t{1} << count) - 1) << static_cast<unsigned>(first);
}
inline constexpr std::uint64_t common_read_write{set_of(reg::task_priority) | set_of(reg::spurious_interrupt_vector) |
                                                 set_of(reg::error_status) | set_of(reg::lvt_cmci) |
                                                 set_of(reg::interrupt_command) | set_of(reg::lvt_timer, 6) |
                                                 set_of(reg::initial_count) | set_of(reg::divide_configuration)};
inline constexpr std::uint64_t x2apic_readable{common_read_write | set_of(reg::id) | set_of(reg::version) |
                                               set_of(reg::processor_priority) | set_of(reg::logical_destination) |
                                               set_of(reg::in_service, 24) | set_of(reg::current_count)};
inline constexpr std::uint64_t x2apic_writable{common_read_write | set_of(reg::end_of_interrupt) |
                                               set_of(reg::self_ipi)};
inline constexpr std::uint64_t xapic_existing{(x2apic_readable | x2apic_writable | set_of(reg::arbitration_priority) |
                                               set_of(reg::remote_read) | set_of(reg::destination_format) |
                                               set_of(reg::interrupt_command_high)) &
                                              ~set_of(reg::self_ipi)};

/// Those of x2APIC mode that change only when software writes or an interrupt moves: a page of registers can answer.
inline constexpr std::uint64_t x2apic_stable{x2apic_readable & ~set_of(reg::current_count)};

[[nodiscard]] constexpr auto contains(std::uint64_t set, std::uint64_t number) -> bool {
    return number < 64 and (set >> number & 1) != 0;
}

} // namespace lapic_access

/// The registers of one local APIC and what follows from them alone.
struct lapic_registers {
    /// Version 14h, seven LVT entries (the last is CMCI), no suppression of EOI broadcasts.
    static constexpr std::uint32_t version{0x14 | (local_source_count - 1) << 16};
    static constexpr std::uint32_t svr_writable{x86::apic::svr::vector | x86::apic::svr::software_enable |
                                                x86::apic::svr::focus_processor_checking};
    static constexpr std::uint32_t icr_low_writable{0x000ccfff};
    static constexpr std::uint32_t dfr_fixed{0x0fffffff};

    std::uint32_t id{};
    std::uint64_t apic_base{x86::apic::default_base | x86::apic::base::enable};
    std::uint8_t tpr{};
    std::uint32_t ldr{}; ///< of xAPIC mode
    std::uint32_t dfr{0xffffffff};
    std::uint32_t svr{x86::apic::svr::vector};
    vector_set isr{};
    vector_set tmr{};
    vector_set irr{};
    std::uint32_t esr{};         ///< what a read sees
    std::uint32_t esr_pending{}; ///< errors since the last write to ESR
    std::uint64_t icr{};
    std::array<std::uint32_t, local_source_count> lvt{masked_lvt()};
    lapic_timer timer{};

    /// The state after INIT: everything but the id and IA32_APIC_BASE.
    constexpr void initialize() { *this = {.id = id, .apic_base = apic_base}; }

    [[nodiscard]] constexpr auto hardware_enabled() const -> bool { return (apic_base & x86::apic::base::enable) != 0; }
    [[nodiscard]] constexpr auto software_enabled() const -> bool {
        return hardware_enabled() and (svr & x86::apic::svr::software_enable) != 0;
    }
    [[nodiscard]] constexpr auto x2apic() const -> bool { return (apic_base & x86::apic::base::extended) != 0; }

    [[nodiscard]] constexpr auto entry(local_source source) const -> std::uint32_t {
        return lvt[static_cast<unsigned>(source)];
    }
    /// While the APIC is software-disabled every entry stays masked.
    constexpr void set_entry(local_source source, std::uint32_t value) {
        auto const forced = software_enabled() ? 0 : x86::apic::lvt::masked;
        lvt[static_cast<unsigned>(source)] = (value & lvt_writable(source)) | forced;
    }
    constexpr void set_svr(std::uint32_t value) {
        svr = value & svr_writable;
        if (not software_enabled())
            for (auto& e : lvt)
                e |= x86::apic::lvt::masked;
    }

    [[nodiscard]] constexpr auto id_register() const -> std::uint32_t { return x2apic() ? id : id << 24; }
    [[nodiscard]] constexpr auto ldr_register() const -> std::uint32_t {
        return x2apic() ? x86::apic::logical_x2apic_id(id) : ldr;
    }

    /// `in_service` is the highest vector of ISR. SDM Vol. 3A, "Processor Priority Register (PPR)".
    [[nodiscard]] constexpr auto ppr(std::uint8_t in_service) const -> std::uint8_t {
        auto const priority = static_cast<std::uint8_t>(in_service & 0xf0);
        return (tpr & 0xf0) >= priority ? tpr : priority;
    }
    /// What lowest-priority arbitration compares, by the highest vectors of ISR and IRR. SDM Vol. 3A, "Arbitration
    /// Priority Register (APR)".
    [[nodiscard]] constexpr auto apr(std::uint8_t highest_in_service, std::uint8_t highest_requested) const
        -> std::uint8_t {
        auto const in_service = highest_in_service & 0xf0;
        auto const requested = highest_requested & 0xf0;
        auto const task = tpr & 0xf0;
        if (task >= requested and task > in_service)
            return tpr;
        auto const highest = task > in_service ? task : in_service;
        return static_cast<std::uint8_t>(highest > requested ? highest : requested);
    }

    [[nodiscard]] constexpr auto route() const -> lapic_route {
        return {.id = id,
                .logical = static_cast<std::uint8_t>(ldr >> 24),
                .model = static_cast<std::uint8_t>(dfr >> 28),
                .enabled = hardware_enabled(),
                .software_enabled = software_enabled(),
                .x2apic = x2apic()};
    }

  private:
    [[nodiscard]] static constexpr auto masked_lvt() -> std::array<std::uint32_t, local_source_count> {
        std::array<std::uint32_t, local_source_count> entries{};
        for (auto& e : entries)
            e = x86::apic::lvt::masked;
        return entries;
    }
};

} // namespace hv
