// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm/exit_code.hpp>
#include <hv/backends/svm/registers.hpp>
#include <hv/event.hpp>

#include <cstdint>

namespace hv::backends::svm {

/// Event delivery: EVENTINJ and EXITINTINFO have the layout of hv::event. APM Vol. 2, "Event Injection".
class events : public registers {
  public:
    void inject(event e) { vmcb_->control.eventinj = e.raw; }
    [[nodiscard]] auto injection_pending() const -> bool { return event{vmcb_->control.eventinj}.valid(); }
    /// NMIs become blocked when the NMI enters the guest, not when it is put into the slot; so taking it back leaves
    /// the blocking as the guest knows it.
    [[nodiscard]] auto withdraw_injection() -> event {
        auto const e = injection_pending() ? event{vmcb_->control.eventinj} : event{};
        vmcb_->control.eventinj = 0;
        return e;
    }
    [[nodiscard]] auto take_interrupted_event() -> event {
        auto const e = interrupted_;
        interrupted_ = {};
        return e;
    }

    [[nodiscard]] auto interrupt_shadow() const -> bool { return (vmcb_->control.interrupt_shadow & 1) != 0; }
    void set_interrupt_shadow(bool on) { vmcb_->control.interrupt_shadow = on ? 1 : 0; }

    /// Without virtual NMIs the backend finds the end of an NMI handler by intercepting its IRET.
    [[nodiscard]] auto nmi_blocked() const -> bool { return (vmcb_->control.intercept_misc1 & misc1::iret) != 0; }
    void set_nmi_blocked(bool on) {
        if (on != nmi_blocked())
            vmcb_->write(vmcb_->control.intercept_misc1, vmcb_->control.intercept_misc1 ^ misc1::iret);
    }

    /// A virtual interrupt of highest priority that the guest never sees: its intercept comes first.
    /// APM Vol. 2, "Virtual Interrupts".
    void request_interrupt_window(bool on) {
        auto& control = vmcb_->control;
        if (on == ((control.intercept_misc1 & misc1::vintr) != 0))
            return;
        vmcb_->write(control.intercept_misc1, control.intercept_misc1 ^ misc1::vintr);
        auto const without = control.v_intr & ~window_request;
        vmcb_->write(control.v_intr, on ? without | window_request : without);
        intercept_cr8();
    }
    void watch_task_priority(bool on) {
        if (on == watches_task_priority_)
            return;
        watches_task_priority_ = on;
        intercept_cr8();
    }

    [[nodiscard]] auto task_priority() const -> std::uint8_t {
        return static_cast<std::uint8_t>(vmcb_->control.v_intr & 0xf);
    }
    void set_task_priority(std::uint8_t priority) {
        auto const v = (vmcb_->control.v_intr & ~v_intr::v_tpr) | (priority & 0xfu);
        if (v != vmcb_->control.v_intr)
            vmcb_->write(vmcb_->control.v_intr, v);
    }

    /// The intercepted IRET is about to end the NMI handler. It has not run yet, so one instruction of interrupt
    /// shadow keeps the next NMI off its stack frame.
    void end_nmi() {
        set_nmi_blocked(false);
        set_interrupt_shadow(true);
    }

  protected:
    void before_delivery() {
        injected_ = event{vmcb_->control.eventinj};
        if (injected_.valid() and injected_.type() == event_type::nmi)
            set_nmi_blocked(true);
    }

    /// Remembers the event whose delivery the exit interrupted. A software interrupt or INT3 or INTO of the guest's own
    /// is forgotten: RIP is still at the instruction, which executes again. One that was injected comes back, since no
    /// instruction stands behind it.
    void after_delivery() {
        interrupted_ = {};
        if (is_invalid(vmcb_->control.exitcode))
            return; // EVENTINJ may be what the processor refused
        vmcb_->control.eventinj = 0;
        auto const e = event{vmcb_->control.exitintinfo};
        if (not e.valid())
            return;
        if (e.type() == event_type::nmi)
            set_nmi_blocked(false); // it was not delivered
        if (e == injected_ or not is_software(e))
            interrupted_ = e;
    }

    [[nodiscard]] static constexpr auto is_software(event e) -> bool {
        return e.type() == event_type::software_interrupt or
               (e.type() == event_type::exception and
                (e.vector() == static_cast<unsigned>(x86::exception::breakpoint) or
                 e.vector() == static_cast<unsigned>(x86::exception::overflow)));
    }

  private:
    static constexpr std::uint64_t window_request{v_intr::v_irq | v_intr::highest_priority | v_intr::v_ign_tpr};

    /// While a virtual interrupt is requested too: QEMU's TCG aborts when a guest writes CR8 then.
    void intercept_cr8() {
        constexpr std::uint32_t cr8_write{1u << (16 + 8)};
        auto& control = vmcb_->control;
        bool const on{watches_task_priority_ or (control.intercept_misc1 & misc1::vintr) != 0};
        vmcb_->write(control.intercept_cr, on ? control.intercept_cr | cr8_write : control.intercept_cr & ~cr8_write);
    }

    bool watches_task_priority_{};
    event injected_{};    ///< by the last entry
    event interrupted_{}; ///< by the last exit, until taken
};

} // namespace hv::backends::svm
