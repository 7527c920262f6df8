// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/exit_list.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// What one virtual processor counts. Per-vCPU, so that counting never touches a shared cache line.
struct vcpu_stats {
    std::array<std::uint64_t, exits::all::size> exits{};
    std::uint64_t events_injected{};
    std::uint64_t interrupted_deliveries{}; ///< exits in the middle of event delivery
    std::uint64_t unclaimed_ports{};
    std::uint64_t unclaimed_mmio{};
    std::uint64_t refused_msrs{}; ///< MSR accesses answered with #GP
    std::uint64_t emulated_instructions{};

    template <typename Exit>
    constexpr void count() {
        ++exits[exits::number_of<Exit>];
    }
    constexpr auto operator+=(vcpu_stats const& other) -> vcpu_stats& {
        for (std::size_t i{0}; i != exits.size(); ++i)
            exits[i] += other.exits[i];
        events_injected += other.events_injected;
        interrupted_deliveries += other.interrupted_deliveries;
        unclaimed_ports += other.unclaimed_ports;
        unclaimed_mmio += other.unclaimed_mmio;
        refused_msrs += other.refused_msrs;
        emulated_instructions += other.emulated_instructions;
        return *this;
    }
    /// As many as entries.
    [[nodiscard]] constexpr auto total_exits() const -> std::uint64_t {
        std::uint64_t sum{0};
        for (auto const n : exits)
            sum += n;
        return sum;
    }
};

} // namespace hv
