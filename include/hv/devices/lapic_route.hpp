// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/interrupt.hpp>
#include <hv/x86/apic.hpp>

#include <cstdint>

namespace hv {

/// What messages find a local APIC by. It fits into one word, so that a processor can show it to all others at once.
struct lapic_route {
    std::uint32_t id{};
    std::uint8_t logical{}; ///< LDR of xAPIC mode
    std::uint8_t model{};   ///< DFR of xAPIC mode: Fh is flat, 0 clusters
    bool enabled{};         ///< IA32_APIC_BASE
    bool software_enabled{};
    bool x2apic{};

    constexpr auto operator==(lapic_route const&) const -> bool = default;

    [[nodiscard]] constexpr auto word() const -> std::uint64_t {
        return id | std::uint64_t{logical} << 32 | std::uint64_t{model} << 48 | std::uint64_t{enabled} << 52 |
               std::uint64_t{software_enabled} << 53 | std::uint64_t{x2apic} << 54;
    }
    [[nodiscard]] static constexpr auto of(std::uint64_t word) -> lapic_route {
        return {.id = static_cast<std::uint32_t>(word),
                .logical = static_cast<std::uint8_t>(word >> 32),
                .model = static_cast<std::uint8_t>(word >> 48 & 0xf),
                .enabled = (word >> 52 & 1) != 0,
                .software_enabled = (word >> 53 & 1) != 0,
                .x2apic = (word >> 54 & 1) != 0};
    }

    /// Whether a message that the APIC `source` sent (any value if it has no shorthand) is for this one.
    [[nodiscard]] constexpr auto matches(interrupt_message const& message, std::uint32_t source) const -> bool {
        if (not enabled)
            return false;
        switch (message.shorthand) {
        case destination_shorthand::self:
            return id == source;
        case destination_shorthand::all_including_self:
            return true;
        case destination_shorthand::all_excluding_self:
            return id != source;
        default:
            return is_addressed(message.destination, message.logical);
        }
    }

  private:
    /// SDM Vol. 3A, "Determining IPI Destination".
    [[nodiscard]] constexpr auto is_addressed(std::uint32_t destination, bool is_logical) const -> bool {
        if (destination == broadcast_destination)
            return true;
        if (x2apic)
            return is_logical ? shares_a_bit(destination, x86::apic::logical_x2apic_id(id), 16) : destination == id;
        if (destination == 0xff)
            return true;
        if (not is_logical)
            return destination == id;
        if (destination > 0xff)
            return false;
        switch (model) {
        case 0xf:
            return (destination & logical) != 0;
        case 0x0:
            return shares_a_bit(destination, logical, 4);
        default:
            return false; // no other model is defined
        }
    }
    /// Cluster model: the bits from `width` up name the cluster, those below it members of the cluster.
    [[nodiscard]] static constexpr auto shares_a_bit(std::uint32_t a, std::uint32_t b, unsigned width) -> bool {
        return a >> width == b >> width and (a & b & ((1u << width) - 1)) != 0;
    }
};
static_assert(lapic_route::of(lapic_route{.id = 7, .logical = 0x80, .model = 0xf, .enabled = true}.word()) ==
              lapic_route{.id = 7, .logical = 0x80, .model = 0xf, .enabled = true});

} // namespace hv
