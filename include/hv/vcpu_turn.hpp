// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/vcpu_delivery.hpp>
#include <hv/vcpu_shared.hpp>

namespace hv {

/// Whether a vCPU that does not run has something to execute or to tell: what others asked of it and due timers count.
/// By the thread that has it.
template <typename Vcpu>
[[nodiscard]] auto look_for_work(Vcpu& cpu) -> bool {
    if (cpu.shared().posted.any()) // who looks for sleepers finds this message, or one that is awake
        if (cpu.shared().sleeps_for_ever.exchange(false))
            cpu.machine().note_wake_up();
    receive(cpu);
    event_delivery<Vcpu> delivery{cpu};
    if (cpu.activity() == vcpu_activity::halted) {
        cpu.service();
        if (delivery.has_wake_up())
            cpu.set_activity(vcpu_activity::running);
    }
    auto const activity = cpu.activity();
    bool const for_ever{activity == vcpu_activity::waits_for_start_up or activity == vcpu_activity::off or
                        (activity == vcpu_activity::halted and not delivery.may_wake())};
    if (cpu.shared().sleeps_for_ever.exchange(for_ever) != for_ever and for_ever)
        cpu.machine().note_halt();
    auto const& requests = cpu.requests();
    return not cpu.machine().stopped() and (not requests.must_leave() or requests.tells());
}

} // namespace hv
