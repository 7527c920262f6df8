// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/device_context.hpp>
#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/stop.hpp>
#include <hv/vcpu_apic.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/exception.hpp>

#include <cstdint>

namespace hv {

/// What a virtual processor takes next, and when: events whose delivery was interrupted, exceptions, NMIs, interrupts
/// of the 8259 pair and of the local APIC.
template <typename Vcpu>
class event_delivery {
  public:
    explicit event_delivery(Vcpu& processor) : cpu_{processor} {}

    /// Whether the guest would take an interrupt or NMI, or has one on its way: then HLT does not wait.
    [[nodiscard]] auto has_wake_up() -> bool {
        auto const& events = cpu_.events();
        if (cpu_.hardware().injection_pending() or nmi_waits() or
            (events.must_deliver() and not events.holds_interrupt()))
            return true;
        return interrupts_on() and (events.holds_interrupt() or interrupt_waits());
    }

    /// Whether anything can ever wake a guest that halts: with interrupts off an NMI alone, and only a device that is
    /// set up for it raises one.
    [[nodiscard]] auto may_wake() -> bool {
        if (interrupts_on())
            return true;
        if (cpu_.hardware().nmi_blocked())
            return false;
        bool found{false};
        auto const ask = [&found](auto& device) {
            if constexpr (requires { device.may_raise_nmi(); })
                found = found or device.may_raise_nmi();
        };
        cpu_.local().for_each(ask);
        machine_context const context{cpu_.machine()};
        cpu_.machine().devices().for_each(ask);
        return found;
    }

    /// Puts what the guest must take next into the delivery slot, and asks for an exit when what is left can go in.
    /// False if the guest's processor shut down instead. Where vectors are delivered apart they are left.
    [[nodiscard, gnu::always_inline]] auto deliver() -> bool {
        bool const busy{cpu_.hardware().injection_pending()};
        if (busy or not cpu_.events().empty() or external_interrupt_waits()) [[unlikely]]
            return deliver_more(busy);
        if constexpr (Vcpu::delivers_vectors_apart)
            cpu_.apic().ask_again();
        else
            deliver_vectors();
        return true;
    }

    /// What `deliver` does with the local APIC's vectors, where nothing else is there to deliver. What the guest does
    /// not take is asked for again at the next entry: an instruction that is served may end the shadow that it waits
    /// for.
    [[gnu::always_inline]] void deliver_vectors() {
        take_moved();
        auto const vector = processor_has_apic() ? -1 : pending_vector();
        bool const waits{vector >= 0 and not takes_interrupts()};
        if (vector >= 0 and not waits) // behind it none waits: it is in service now, and was the highest
            inject_vector(vector);
        cpu_.hardware().request_interrupt_window(waits);
        if constexpr (Vcpu::has_lapic)
            if (waits) {
                cpu_.apic().ask_again();
                cpu_.note_waiting();
            }
    }

    /// Whether `deliver` left an interrupt that the guest did not take.
    [[nodiscard]] auto waits() const -> bool { return waits_; }

  private:
    [[gnu::always_inline]] void take_moved() {
        if constexpr (Vcpu::has_lapic) {
            auto& hardware = cpu_.hardware();
            auto& apic = cpu_.apic();
            apic.take_moved();
            if (hardware.task_priority() != apic.task_priority()) [[unlikely]]
                hardware.set_task_priority(apic.task_priority());
            hardware.watch_task_priority(not processor_has_apic() and apic.held_back());
        }
    }

    /// What `deliver` does where there is more to deliver than a vector of the local APIC.
    [[nodiscard, gnu::cold, gnu::noinline]] auto deliver_more(bool busy) -> bool {
        take_moved();
        auto& hardware = cpu_.hardware();
        if (not busy and not deliver_first()) [[unlikely]]
            return false;
        waits_ = cpu_.events().holds_interrupt() or injection_waits();
        hardware.request_interrupt_window(waits_);
        // Behind another event nothing tells when an NMI or exception can go in.
        if (hardware.injection_pending() and (must_deliver_now() or nmi_waits())) [[unlikely]]
            cpu_.stays().end_soon(hardware, cpu_.machine());
        return true;
    }

    /// The order is the reference interface's (vm_entry_intinfo): an interrupted event or exception, NMI, ExtINT, local
    /// APIC.
    [[nodiscard, gnu::cold]] auto deliver_first() -> bool {
        auto& events = cpu_.events();
        if (must_deliver_now()) [[unlikely]] {
            auto const next = events.take();
            if (next.triple_fault) {
                cpu_.machine().stop(
                    {.kind = stop_kind::triple_fault, .text = "an exception while delivering a double fault"},
                    cpu_.id());
                return false;
            }
            inject(next.first);
            return true;
        }
        if (nmi_waits()) [[unlikely]] {
            if (not cpu_.hardware().interrupt_shadow()) {
                events.clear_nmi();
                inject(event::make(event_type::nmi, static_cast<std::uint8_t>(x86::exception::nmi)));
                return true;
            }
            cpu_.hardware().request_nmi_window();
        }
        if (not takes_interrupts())
            return true;
        if (external_interrupt_waits()) {
            events.clear_external();
            inject(event::make(event_type::external_interrupt, cpu_.machine().acknowledge_external()));
        } else if (vector_waits()) {
            inject_vector(pending_vector());
        }
        return true;
    }

    [[gnu::always_inline]] void inject_vector(int vector) {
        if constexpr (Vcpu::has_lapic) {
            cpu_.apic().acknowledge(vector);
            inject(event::make(event_type::external_interrupt, static_cast<std::uint8_t>(vector)));
        }
    }

    void inject(event e) {
        ++cpu_.stats().events_injected;
        cpu_.hardware().inject(e);
    }

    [[nodiscard]] auto processor_has_apic() -> bool { return hv::processor_has_apic(cpu_); }
    [[nodiscard]] auto pending_vector() -> int {
        if constexpr (Vcpu::has_lapic)
            return cpu_.apic().pending_vector();
        else
            return -1;
    }
    [[nodiscard]] auto external_interrupt_waits() -> bool {
        if (cpu_.events().external_pending())
            return true;
        if (not cpu_.machine().external_interrupt())
            return false;
        if constexpr (Vcpu::has_lapic)
            return cpu_.id() == 0 and cpu_.apic().accepts_external();
        else
            return cpu_.id() == 0;
    }
    [[nodiscard]] auto interrupt_waits() -> bool { return external_interrupt_waits() or pending_vector() >= 0; }
    /// Of the same, what has to be injected.
    [[nodiscard]] auto injection_waits() -> bool { return external_interrupt_waits() or vector_waits(); }
    [[nodiscard]] auto vector_waits() -> bool { return not processor_has_apic() and pending_vector() >= 0; }
    [[nodiscard]] auto nmi_waits() -> bool { return cpu_.events().nmi_pending() and not cpu_.hardware().nmi_blocked(); }
    [[nodiscard]] auto interrupts_on() -> bool { return (cpu_.hardware().rflags() & x86::rflags::interrupt) != 0; }
    [[nodiscard]] auto takes_interrupts() -> bool { return interrupts_on() and not cpu_.hardware().interrupt_shadow(); }
    /// Whether what must be delivered can be: an interrupt that was acknowledged already waits like every other.
    [[nodiscard]] auto must_deliver_now() -> bool {
        auto const& events = cpu_.events();
        return events.must_deliver() and (not events.holds_interrupt() or takes_interrupts());
    }

    Vcpu& cpu_;
    bool waits_{};
};

} // namespace hv
