// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/time.hpp>
#include <hv/vcpu_delivery.hpp>
#include <hv/vcpu_shared.hpp>

namespace hv {

/// What a vCPU that does not run is to do.
struct vcpu_turn {
    bool is_ready{};         ///< `run` would enter the guest, or tell what somebody wants to know once; else it sleeps
    instant wakes_at{never}; ///< when that changes by itself
};

/// Ends a HLT once the guest has something to take.
template <typename Vcpu>
void end_halt(Vcpu& cpu) {
    if (cpu.activity() == vcpu_activity::halted and event_delivery<Vcpu>{cpu}.has_wake_up())
        cpu.set_activity(vcpu_activity::running);
}

/// Whether a vCPU that does not run has something to execute or to tell: what others asked of it and due timers count.
/// By the thread that has it.
template <typename Vcpu>
[[nodiscard]] auto look_for_work(Vcpu& cpu) -> bool {
    receive(cpu);
    if (cpu.requests().must_leave()) // nobody else will look at its timers
        cpu.service();
    end_halt(cpu);
    auto const activity = cpu.activity();
    bool const for_ever{activity == vcpu_activity::waits_for_start_up or activity == vcpu_activity::off or
                        (activity == vcpu_activity::halted and not event_delivery<Vcpu>{cpu}.may_wake())};
    if (cpu.shared().sleeps_for_ever.exchange(for_ever) != for_ever and for_ever)
        cpu.machine().note_halt();
    auto const& requests = cpu.requests();
    return not cpu.machine().stopped() and (not requests.must_leave() or requests.tells());
}

} // namespace hv
