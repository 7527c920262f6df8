// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "instructions.hpp"

#include <cstdint>

namespace hv::bare {

/// A counter of known frequency, to measure others with: the ACPI PM timer, or channel 2 of the 8254 where there is no
/// ACPI. It counts up and wraps at `mask`.
class reference_clock {
  public:
    static constexpr std::uint32_t pm_timer_frequency{3'579'545}; // ACPI Specification, "Power Management Timer"
    static constexpr std::uint32_t pit_frequency{1'193'182};

    static auto pm_timer(std::uint16_t port, bool is_32_bits_wide) -> reference_clock {
        return {port, is_32_bits_wide ? ~0u : 0xffffffu, pm_timer_frequency};
    }

    /// Starts channel 2 as a free-running divider by 65536, without the speaker.
    static auto pit() -> reference_clock {
        out8(system_control, static_cast<std::uint8_t>((in8(system_control) & ~2u) | 1u));
        out8(pit_control, 0xb4); // channel 2, low byte then high byte, rate generator
        out8(pit_channel_2, 0);
        out8(pit_channel_2, 0);
        return {pit_channel_2, 0xffff, pit_frequency};
    }

    [[nodiscard]] auto is_pm_timer() const -> bool { return frequency_ == pm_timer_frequency; }
    [[nodiscard]] auto frequency() const -> std::uint32_t { return frequency_; }
    [[nodiscard]] auto read() const -> std::uint32_t {
        if (is_pm_timer())
            return in32(port_) & mask_;
        out8(pit_control, 0x80); // latch channel 2
        auto const low = in8(port_);
        auto const high = in8(port_);
        return ~(low | std::uint32_t{high} << 8) & mask_; // it counts down
    }
    /// Ticks from one reading to a later one, less than a whole turn apart.
    [[nodiscard]] auto between(std::uint32_t from, std::uint32_t to) const -> std::uint32_t {
        return (to - from) & mask_;
    }

  private:
    static constexpr std::uint16_t pit_channel_2{0x42}, pit_control{0x43}, system_control{0x61};

    reference_clock(std::uint16_t port, std::uint32_t mask, std::uint32_t frequency)
        : port_{port}, mask_{mask}, frequency_{frequency} {}

    std::uint16_t port_;
    std::uint32_t mask_;
    std::uint32_t frequency_;
};

} // namespace hv::bare
