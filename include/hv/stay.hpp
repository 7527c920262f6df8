// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/time.hpp>

#include <cstdint>

namespace hv {

/// How long a vCPU may stay in its guest: to the next deadline of a device. The processor's own timer ends the stay
/// where it has one, else an interrupt of the host's does.
class stay {
  public:
    /// Nothing is known of either timer: others used them.
    void forget() {
        armed_ = unknown;
        bound_ = unknown;
    }
    /// The stay is over; the next begins with the guest's right to execute something.
    void end() { bound_ = unknown; }

    /// Lets the next stay end at `next`.
    template <typename Hardware, typename Machine>
    void bound(Hardware& hardware, Machine& machine, instant next) {
        if constexpr (bounds_stay<Hardware>)
            if (hardware.can_bound_stay()) {
                if (next != bound_) {
                    bound_ = next;
                    auto const now = machine.now();
                    auto const wait = next <= now ? 0 : next - now < longest ? next - now : longest;
                    auto& host = machine.host();
                    hardware.bound_stay(host.tsc() + ticks_in(wait, host.tsc_frequency()) + 1,
                                        static_cast<std::uint32_t>(ticks_in(least, host.tsc_frequency())));
                }
                return;
            }
        arm(machine, next);
    }

    /// Asks the host for an interrupt at `next`, if that moved.
    template <typename Machine>
    void arm(Machine& machine, instant next) {
        if (next == armed_)
            return;
        armed_ = next;
        auto const soonest = machine.now() + least;
        machine.host().arm_timer(machine.host_time(next < soonest ? soonest : next));
    }

    /// Lets the next stay end as soon as an event was delivered, or soon after.
    template <typename Hardware, typename Machine>
    void end_soon(Hardware& hardware, Machine& machine) {
        if constexpr (bounds_stay<Hardware>)
            if (hardware.can_bound_stay()) {
                bound_ = unknown;
                return hardware.bound_stay(0, 0);
            }
        armed_ = unknown;
        machine.host().arm_timer(machine.host().now() + least);
    }

  private:
    /// A guest whose timer is always due must still get to execute something between two of its interrupts.
    static constexpr nanoseconds least{10'000};
    /// Without any deadline a stay ends nevertheless: no counter overflows in between.
    static constexpr nanoseconds longest{nanoseconds_per_second};
    /// In place of what a timer is set to.
    static constexpr instant unknown{-1};

    instant armed_{unknown}; ///< deadline that the host's timer is armed for
    instant bound_{unknown}; ///< deadline that the processor ends the stay at
};

} // namespace hv
