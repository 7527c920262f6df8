// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/time.hpp>

#include <cstddef>

namespace hv::bare {

/// Runs the vCPUs of a machine with scheduling_policy::pinned, in the place of the scheduler: number n on processor n,
/// which has no other. `Machine` is hv::vm.
template <typename Machine, typename Host>
class pinned {
  public:
    pinned(Machine& machine, Host& on) : machine_{machine}, host_{on} {}

    /// Tells the vCPUs where they belong, once the processors are up.
    void settle() {
        auto const all = machine_.places();
        for (std::size_t n{0}; n != all.size(); ++n)
            all[n].settle(static_cast<unsigned>(n));
    }

    /// The program of each processor, until the machine stops.
    void run() {
        auto& own = machine_.places()[host_.processor()];
        host_.begin_slice(never.since_creation, false);
        while (not machine_.stopped()) {
            host_.begin_looking();
            if (auto const turn = own.next_turn(); turn.is_ready) {
                own.run();
            } else if (not machine_.stopped() and not host_.is_woken()) {
                host_.arm_timer(machine_.host_time(turn.wakes_at));
                host_.idle();
            }
        }
    }

  private:
    Machine& machine_;
    Host& host_;
};

} // namespace hv::bare
