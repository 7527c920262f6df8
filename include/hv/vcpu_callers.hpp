// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/lapic_route.hpp>
#include <hv/lock_order.hpp>
#include <hv/posted_requests.hpp>
#include <hv/run_requests.hpp>
#include <hv/time.hpp>
#include <hv/vcpu_phase.hpp>
#include <hv/vcpu_turn.hpp>

#include <atomic>
#include <cstdint>

namespace hv {

/// The part of a vCPU that other threads call where there are several, and the thread that decides when it runs:
/// messages and requests, who has it, and what messages find it by. `Self` is hv::vcpu.
template <typename Self>
class vcpu_callers {
  public:
    /// Leaves a message or request for this processor, and makes it look. From any thread.
    template <typename What>
    void post(What const& what)
        requires Self::is_parallel
    {
        if (not self().shared().posted.post(what))
            return;
        auto const at = self().shared().hold.now();
        if (at.phase() != vcpu_phase::running)
            self().host().wake(at.processor());
        else if (at.processor() != self().host().processor()) // else it is the one that posts
            self().host().kick(at.processor());
    }
    /// The processor of the host that it will run on first.
    void settle(unsigned processor) { self().shared().hold.settle(processor); }

    /// Who has it. From any thread; others have it as frozen_vcpu.
    [[nodiscard]] auto phase() const -> vcpu_phase
        requires Self::is_parallel
    {
        return self().shared().hold.now().phase();
    }
    /// By what messages find it. From any thread.
    [[nodiscard]] auto route() -> lapic_route {
        if constexpr (Self::is_parallel)
            return lapic_route::of(self().shared().route.load(std::memory_order_acquire));
        else
            return self().apic().route();
    }
    /// The least value wins a lowest-priority message. From any thread.
    [[nodiscard]] auto arbitration_priority() -> std::uint8_t {
        if constexpr (Self::is_parallel)
            return self().shared().priority.load(std::memory_order_relaxed);
        else
            return self().apic().arbitration_priority();
    }
    /// Lets others see these, which have them in their caches as they were.
    void show_route() {
        if constexpr (Self::is_parallel and Self::has_lapic)
            if (auto const now = self().apic().route().word();
                now != self().shared().route.load(std::memory_order_relaxed))
                self().shared().route.store(now, std::memory_order_release);
    }
    void show_priority() {
        if constexpr (Self::is_parallel and Self::has_lapic)
            if (auto const now = self().apic().arbitration_priority();
                now != self().shared().priority.load(std::memory_order_relaxed))
                self().shared().priority.store(now, std::memory_order_relaxed);
    }

    /// Makes `run` come back with this. From any thread, where there are others.
    void ask(run_end what) {
        if constexpr (Self::is_parallel)
            post(what);
        else
            self().requests().ask(what);
    }
    /// A debugger suspended it, or resumed it: the machine knows which. From any thread, where there are others.
    void call_to_debugger() {
        if constexpr (Self::is_parallel)
            post(posted_requests::request::debugger);
        else
            follow_debugger();
    }
    void follow_debugger() {
        if (self().machine().sets().debugged.has(self().id()))
            self().requests().ask(run_end::debug);
        else
            self().requests().withdraw(run_end::debug);
    }

    /// Nothing but another processor can end its sleep. From any thread.
    [[nodiscard]] auto sleeps_for_ever() const -> bool {
        if constexpr (Self::is_parallel)
            return not self().shared().posted.any() and self().shared().sleeps_for_ever.load();
        else
            return true; // the only one asks
    }
    /// What the vCPU is to do next, if nobody has it. Lets due timers fire first. From then on it belongs to the
    /// processor of the host that asks.
    [[nodiscard]] auto next_turn() -> vcpu_turn
        requires Self::is_parallel
    {
        if (not self().machine().is_active(self().id()) or not take())
            return {}; // who has it wakes its processor afterwards
        vcpu_turn const turn{.is_ready = look_for_work(self()), .wakes_at = self().next_deadline()};
        give_up(turn.is_ready ? vcpu_phase::idle : vcpu_phase::sleeping);
        return turn;
    }
    [[nodiscard]] auto is_ready() -> bool
        requires Self::is_parallel
    {
        return next_turn().is_ready;
    }
    /// The host's processor that it belongs to: where it runs or ran, was asked for its turn, or settled. From any
    /// thread.
    [[nodiscard]] auto host_processor() const -> unsigned { return self().shared().hold.now().processor(); }
    /// Whether nobody has it, and it may be ready. From any thread.
    [[nodiscard]] auto waits_to_run() -> bool {
        auto const now = self().shared().hold.now();
        return now.phase() == vcpu_phase::idle and not now.is_wanted() and self().machine().is_active(self().id());
    }

  protected:
    [[nodiscard]] auto take() -> bool {
        if (not self().shared().hold.begin(self().host().processor()))
            return false;
        note_taking(self().host(), lock_rank::machine);
        return true;
    }
    void give_up(vcpu_phase to) {
        self().shared().hold.rest(self().host(), to);
        note_given(self().host(), lock_rank::machine);
    }
    [[nodiscard]] auto begin_run() -> bool {
        if (not self().shared().hold.start(self().host().processor()))
            return false;
        note_taking(self().host(), lock_rank::machine);
        return true;
    }
    void end_run() {
        self().shared().hold.end(self().host());
        note_given(self().host(), lock_rank::machine);
    }

  private:
    [[nodiscard]] auto self() -> Self& { return static_cast<Self&>(*this); }
    [[nodiscard]] auto self() const -> Self const& { return static_cast<Self const&>(*this); }
};

} // namespace hv
