// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm/exit_code.hpp>
#include <hv/backends/svm/registers.hpp>
#include <hv/event.hpp>

#include <cstdint>
#include <utility>

namespace hv::backends::svm {

/// Event delivery: EVENTINJ and EXITINTINFO have the layout of hv::event. APM Vol. 2, "Event Injection".
class events : public registers {
  public:
    void inject(event e) {
        vmcb_->control.eventinj = e.raw;
        due_ |= due::injection;
        if (e.type() == event_type::nmi)
            due_ |= due::nmi;
    }
    [[nodiscard]] auto injection_pending() const -> bool { return event{vmcb_->control.eventinj}.valid(); }
    /// NMIs become blocked when the NMI enters the guest, not when it is put into the slot; so taking it back leaves
    /// the blocking as the guest knows it.
    [[nodiscard]] auto withdraw_injection() -> event {
        auto const e = injection_pending() ? event{vmcb_->control.eventinj} : event{};
        vmcb_->control.eventinj = 0;
        return e;
    }
    [[nodiscard]] auto take_interrupted_event() -> event {
        if (not interrupted_.valid()) [[likely]]
            return {};
        return std::exchange(interrupted_, event{});
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

    /// The next entry executes one instruction only. There is no intercept for the end of an interrupt shadow, or of
    /// the IRET that ends an NMI handler.
    void request_nmi_window() { due_ |= due::one_step; }

    /// The intercepted IRET is about to end the NMI handler. It has not run yet, so one instruction of interrupt
    /// shadow keeps the next NMI off its stack frame.
    void end_nmi() {
        set_nmi_blocked(false);
        set_interrupt_shadow(true);
        due_ |= due::end_of_nmi;
    }

    /// Whether the last exit was the step that request_nmi_window asked for.
    [[nodiscard]] auto take_nmi_window() -> bool { return std::exchange(nmi_window_, false); }

    /// The VMCB's DR6 is what a #DB handler would see; Bochs leaves the single step out.
    void complete_debug_status() {
        constexpr std::uint64_t causes{0xe00f}, single_step{1u << 14};
        if ((vmcb_->save.dr6 & causes) == 0 and (rflags() & x86::rflags::tf) != 0)
            vmcb_->write(vmcb_->save.dr6, vmcb_->save.dr6 | single_step);
    }

  protected:
    /// NMIs become blocked when one is delivered. Answers what the entry delivers.
    [[nodiscard]] auto before_delivery() -> event {
        auto const e = event{vmcb_->control.eventinj};
        if (e.valid() and e.type() == event_type::nmi)
            set_nmi_blocked(true);
        return e;
    }

    /// Remembers the event whose delivery the exit interrupted. INTn, INT3 and INTO of the guest's own are forgotten:
    /// RIP is still at the instruction, which executes again. What was injected comes back, since no instruction stands
    /// behind it.
    void after_delivery() {
        interrupted_ = {};
        auto const delivered = std::exchange(injected_, event{});
        if (is_invalid(vmcb_->control.exitcode)) {
            // EVENTINJ may be what the processor refused. QEMU moves it to EXITINTINFO then; it reports a guest's MOV
            // to CR3 as invalid too, but that comes behind the delivery.
            if (event{vmcb_->control.exitintinfo}.valid())
                inject(delivered);
            return;
        }
        vmcb_->control.eventinj = 0;
        auto const e = event{vmcb_->control.exitintinfo};
        if (not e.valid())
            return;
        if (e.type() == event_type::nmi)
            set_nmi_blocked(false); // it was not delivered
        if (e == delivered or not is_instruction_of_guest(e)) {
            interrupted_ = e;
            due_ |= due::interrupted; // whoever does not take it forgets it
        }
    }

    /// An interrupt that nobody injected is one too: physical and virtual ones exit before delivery, and Bochs reports
    /// INTn like that.
    [[nodiscard]] static constexpr auto is_instruction_of_guest(event e) -> bool {
        constexpr event int3 = event::make(x86::exception::breakpoint), into = event::make(x86::exception::overflow);
        return e.type() == event_type::software_interrupt or e.type() == event_type::external_interrupt or e == int3 or
               e == into;
    }

    bool nmi_window_{}; ///< the one step that was asked for is done
    event injected_{};  ///< by the entry that is under way

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
    event interrupted_{}; ///< by the last exit, until taken
};

} // namespace hv::backends::svm
