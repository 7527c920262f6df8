// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/time.hpp>

#include <array>
#include <atomic>
#include <cstddef>

namespace hv::bare {

/// Runs the vCPUs of a machine on the host's processors, in turn where one has several that are ready. Number n begins
/// on processor n modulo their number; a processor takes over one of another that has two more to run than itself.
/// Number 0 stays on processor 0, where console input arrives. `Machine` is hv::vm.
template <typename Machine, typename Host>
class scheduler {
  public:
    /// How long a vCPU runs while others of its processor wait.
    static constexpr nanoseconds slice{5'000'000};
    static constexpr std::size_t most_processors{64};

    scheduler(Machine& machine, Host& on) : machine_{machine}, host_{on} {}

    /// Tells the vCPUs where they begin, once the processors are up.
    void settle() {
        auto const all = machine_.places();
        for (std::size_t n{0}; n != all.size(); ++n)
            all[n].settle(static_cast<unsigned>(n) % host_.processor_count());
    }

    /// The program of each processor, until the machine stops.
    void run() {
        auto const own = host_.processor();
        std::size_t last{own};
        while (not machine_.stopped()) {
            host_.begin_looking();
            auto const found = look(own, last);
            show(own, found.ready);
            auto const taken = one_of_another(own, found.ready);
            auto const chosen = taken != nobody ? taken : found.next;
            auto const wake_time = machine_.host_time(found.wakes_at);
            if (chosen == nobody) {
                if (machine_.stopped() or host_.is_woken())
                    continue; // by one of those that were just asked
                host_.begin_slice(never.since_creation, false);
                host_.arm_timer(wake_time);
                host_.idle();
                continue;
            }
            auto const ready = found.ready + (taken != nobody);
            bool const more{ready > 1};
            if (taken != nobody)
                show(own, ready);
            else if (more)
                offer(own, ready);
            auto const end = more ? host_.now() + slice : never.since_creation;
            host_.begin_slice(end < wake_time ? end : wake_time, more);
            host_.arm_timer(never.since_creation);
            machine_.cpus()[chosen].run();
            last = chosen;
        }
        for (unsigned other{0}; other != host_.processor_count(); ++other)
            if (other != own) // it may have no vCPU by which it was told
                host_.wake(other);
    }

  private:
    static constexpr std::size_t nobody{~std::size_t{0}};

    struct findings {
        std::size_t next{nobody}; ///< the first that is ready, in a circle behind the last that ran
        unsigned ready{0};
        instant wakes_at{never}; ///< of the first of the others
    };
    /// At its own vCPUs.
    [[nodiscard]] auto look(unsigned own, std::size_t last) -> findings {
        findings found;
        auto const all = machine_.cpus();
        for (std::size_t n{1}; n <= all.size(); ++n) {
            auto const at = (last + n) % all.size();
            if (all[at].host_processor() != own)
                continue;
            if (auto const turn = all[at].next_turn(); turn.is_ready) {
                if (found.ready++ == 0)
                    found.next = at;
            } else if (turn.wakes_at < found.wakes_at) {
                found.wakes_at = turn.wakes_at;
            }
        }
        return found;
    }

    // Who shows its load looks at the loads of others afterwards, so that of two processors one sees the other's.

    void show(unsigned own, unsigned ready) {
        if (loads_[own].ready.load(std::memory_order_relaxed) != ready)
            loads_[own].ready.store(ready);
    }
    /// One that waits for another processor: to be run at once, which fails if that or a third was faster.
    [[nodiscard]] auto one_of_another(unsigned own, unsigned ready) -> std::size_t {
        auto const all = machine_.cpus();
        for (unsigned other{0}; other != host_.processor_count(); ++other) {
            if (other == own)
                continue;
            auto there = loads_[other].ready.load();
            if (there < ready + 2)
                continue;
            for (std::size_t n{1}; n < all.size(); ++n)
                if (all[n].host_processor() == other and all[n].waits_to_run()) // one of them for each too many
                    return loads_[other].ready.compare_exchange_strong(there, there - 1) ? n : nobody;
        }
        return nobody;
    }
    /// Makes those look that would take one.
    void offer(unsigned own, unsigned ready) {
        for (unsigned other{0}; other != host_.processor_count(); ++other)
            if (other != own and loads_[other].ready.load() + 2 <= ready)
                host_.wake(other);
    }

    Machine& machine_;
    Host& host_;
    struct alignas(64) load {
        std::atomic<unsigned> ready{0}; ///< vCPUs of a processor that would run, as it last saw them
    };
    std::array<load, most_processors> loads_{};
};

} // namespace hv::bare
