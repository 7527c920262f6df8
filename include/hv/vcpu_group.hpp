// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/run_requests.hpp>
#include <hv/status.hpp>
#include <hv/vcpu_phase.hpp>
#include <hv/vcpu_set.hpp>

#include <cstdint>
#include <span>

namespace hv {

/// How a vCPU is made to look what is new.
enum class notification : std::uint8_t {
    none, ///< not at all: it looks in time by itself
    apic, ///< its local APIC got something; where no processor takes that into the guest it is the same as exit
    exit  ///< it leaves the guest
};

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
    /// The first active one: it looks after the deadlines of the devices that all share, and after console input.
    [[nodiscard]] auto first_cpu() -> std::uint32_t { return self().sets().active.first(); }
    /// From the first to the last active one.
    [[nodiscard]] auto cpus() { return self().places().first(self().sets().active.end()); }

    /// Makes a vCPU, in its power-on state, and lets it take part. invalid_argument if the machine has no such, or its
    /// topology no APIC id for it; busy if it is active already or the machine has stopped; out_of_memory, and nothing
    /// has changed.
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
        if constexpr (Vm::parallel) // its processor of the host may sleep, if the machine runs
            self().host().wake(cpu.host_processor());
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

    // A debugger suspends vCPUs: they come back and are not entered until it resumes them.

    /// invalid_argument if there is no such active vCPU.
    [[gnu::cold]] auto suspend_cpu(std::uint32_t id) -> status {
        if (not takes_part(id))
            return status::invalid_argument;
        self().sets().debugged.add(id);
        self().cpu(id).call_to_debugger();
        return status::ok;
    }
    /// invalid_argument if no such vCPU is suspended.
    [[gnu::cold]] auto resume_cpu(std::uint32_t id) -> status {
        if (not takes_part(id) or not self().sets().debugged.remove(id))
            return status::invalid_argument;
        self().cpu(id).call_to_debugger();
        return status::ok;
    }
    /// All active ones.
    void suspend_cpus() {
        for_each_active([this](auto& cpu) { static_cast<void>(suspend_cpu(cpu.id())); });
    }
    /// All that are suspended.
    void resume_cpus() {
        for_each_active([this](auto& cpu) { static_cast<void>(resume_cpu(cpu.id())); });
    }
    [[nodiscard]] auto is_suspended(std::uint32_t id) -> bool {
        return takes_part(id) and self().sets().debugged.has(id);
    }

    /// Makes a vCPU come back once, if it is active. invalid_argument if the machine has no such.
    [[gnu::cold]] auto barrier_cpu(std::uint32_t id) -> status {
        if (id >= self().places().size())
            return status::invalid_argument;
        if (takes_part(id))
            self().cpu(id).ask(run_end::barrier);
        return status::ok;
    }
    /// All active ones.
    void barrier_cpus() {
        for_each_active([](auto& cpu) { cpu.ask(run_end::barrier); });
    }

    /// Makes a vCPU look: one that another processor runs gets one host interrupt, one that sleeps is woken, any other
    /// looks before it runs. invalid_argument if there is no such active vCPU.
    [[gnu::cold]] auto notify_cpu(std::uint32_t id, notification how) -> status {
        if (not takes_part(id))
            return status::invalid_argument;
        if constexpr (Vm::parallel) {
            auto const at = self().cpu(id).shared().hold.now();
            if (how == notification::none)
                return status::ok;
            if (at.phase() == vcpu_phase::sleeping)
                self().host().wake(at.processor());
            else if (at.phase() == vcpu_phase::running and at.processor() != self().host().processor())
                self().host().kick(at.processor());
        }
        return status::ok;
    }

    /// Calls `what` with each active vCPU.
    void for_each_active(auto&& what) {
        self().sets().active.for_each([&](std::uint32_t id) { what(self().cpu(id)); });
    }

  private:
    [[nodiscard]] auto takes_part(std::uint32_t id) -> bool { return id < self().places().size() and is_active(id); }
    [[nodiscard]] auto self() -> Vm& { return static_cast<Vm&>(*this); }
};

} // namespace hv
