// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/time.hpp>

#include <cstddef>

namespace hv::bare {

/// Runs the vCPUs of a machine: number n on processor n modulo the number of the host's processors, in turn where one
/// has several. `Machine` is hv::vm.
template <typename Machine, typename Host>
class scheduler {
  public:
    /// How long a vCPU runs while others of its processor wait.
    static constexpr nanoseconds slice{5'000'000};

    scheduler(Machine& machine, Host& on) : machine_{machine}, host_{on} {}

    /// Tells the vCPUs where they belong, once the processors are up.
    void settle() {
        auto const all = machine_.places();
        for (std::size_t n{0}; n != all.size(); ++n)
            all[n].settle(static_cast<unsigned>(n) % host_.processor_count());
    }

    /// The program of each processor, until the machine stops.
    void run() {
        auto const step = host_.processor_count();
        std::size_t const first{host_.processor()};
        auto last = first;
        while (not machine_.stopped()) {
            // The next that is ready, in a circle behind the last, and when the first of the others wakes.
            host_.begin_looking();
            auto const all = machine_.cpus();
            auto chosen = all.size();
            bool more{false};
            auto wake = never;
            auto next = last;
            for (auto n = first; n < all.size(); n += step) {
                next = next + step < all.size() ? next + step : first;
                if (not all[next].is_ready()) {
                    if (auto const at = all[next].wakes_at(); at < wake)
                        wake = at;
                } else if (chosen == all.size()) {
                    chosen = next;
                } else {
                    more = true;
                }
            }
            auto const wake_time = machine_.host_time(wake);
            if (chosen == all.size()) {
                if (machine_.stopped() or host_.is_woken())
                    continue; // by one of those that were just asked
                host_.begin_slice(never.since_creation, false);
                host_.arm_timer(wake_time);
                host_.idle();
            } else {
                auto const end = more ? host_.now() + slice : never.since_creation;
                host_.begin_slice(end < wake_time ? end : wake_time, more);
                host_.arm_timer(never.since_creation);
                all[chosen].run();
                last = chosen;
            }
        }
    }

  private:
    Machine& machine_;
    Host& host_;
};

} // namespace hv::bare
