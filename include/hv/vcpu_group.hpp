// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/run_requests.hpp>
#include <hv/status.hpp>
#include <hv/vcpu_set.hpp>

#include <cstdint>
#include <span>

namespace hv {

/// Which of a machine's virtual processors take part.
template <unsigned Most, bool Shared>
struct vcpu_sets {
    vcpu_set<Most, Shared> claimed{};  ///< active, or about to be
    vcpu_set<Most, Shared> active{};   ///< they are there and get messages
    vcpu_set<Most, Shared> debugged{}; ///< suspended until somebody resumes them

    void clear() {
        claimed.clear();
        active.clear();
        debugged.clear();
    }
};

/// The virtual processors of a machine as its callers see them: they name one by its number, and take part in the
/// machine one by one. All of it from any thread, where there are several.
template <typename Vm>
class vcpu_group {
  public:
    /// Whether it takes part. Of one that does not there is nothing but its place.
    [[nodiscard]] auto is_active(std::uint32_t id) -> bool { return self().sets().active.has(id); }
    /// From the first to the last active one.
    [[nodiscard]] auto cpus() { return self().places().first(self().sets().active.end()); }

    /// Makes a vCPU, in its power-on state, and lets it take part. invalid_argument if the machine has no such, or its
    /// topology no APIC id for it; busy if
    /// it is active already or the machine has stopped; out_of_memory, and nothing has changed.
    [[gnu::cold]] auto activate(std::uint32_t id) -> status {
        auto& sets = self().sets();
        if (id >= self().places().size() or self().topology().apic_id(id) > 254)
            return status::invalid_argument;
        if (self().stopped() or not sets.claimed.add(id))
            return status::busy;
        auto& cpu = self().cpu(id);
        if (auto const made = cpu.create(); made != status::ok) {
            sets.claimed.remove(id);
            return made;
        }
        sets.active.add(id);
        if (not self().stopped())
            return status::ok;
        cpu.ask(run_end::stopped); // whoever stopped it may not have seen this one
        return status::busy;
    }
    /// Activates the first `count`. out_of_range if that is none, or more than there are.
    [[gnu::cold]] auto activate_cpus(std::uint32_t count) -> status {
        if (count == 0 or count > self().places().size())
            return status::out_of_range;
        for (std::uint32_t id{0}; id != count; ++id)
            if (auto const done = activate(id); done != status::ok)
                return done;
        return status::ok;
    }

    /// Calls `what` with each active vCPU.
    void for_each_active(auto&& what) {
        self().sets().active.for_each([&](std::uint32_t id) { what(self().cpu(id)); });
    }

  private:
    [[nodiscard]] auto self() -> Vm& { return static_cast<Vm&>(*this); }
};

} // namespace hv
