// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/vmx/exit_code.hpp>
#include <hv/backends/vmx/registers.hpp>
#include <hv/event.hpp>
#include <hv/x86/apic.hpp>
#include <hv/x86/exception.hpp>

#include <cstdint>
#include <utility>

namespace hv::backends::vmx {

/// The format that event injection, IDT vectoring and VM exits by events share: vector 7:0, type 10:8, error code
/// present 11, valid 31. SDM Vol. 3C, "VM-Entry Controls for Event Injection".
namespace interruption {
inline constexpr std::uint32_t error_code_present{1u << 11};
inline constexpr std::uint32_t unblocked_nmi{1u << 12}; ///< of exits: the IRET that faulted had ended an NMI handler
inline constexpr std::uint32_t valid{1u << 31};
enum class type : std::uint8_t {
    external_interrupt = 0,
    nmi = 2,
    hardware_exception = 3,
    software_interrupt = 4,
    privileged_software_exception = 5, ///< INT1
    software_exception = 6,            ///< INT3, INTO
};
[[nodiscard]] constexpr auto type_of(std::uint32_t information) -> type {
    return static_cast<type>(information >> 8 & 7);
}
[[nodiscard]] constexpr auto is_valid(std::uint32_t information) -> bool {
    return (information & valid) != 0;
}
} // namespace interruption

/// An event in the format of VM entry, without its error code. Which vectors have one is the processor's word, in real
/// mode none. SDM Vol. 3C, "Checks on VM-Entry Control Fields".
[[nodiscard]] constexpr auto to_vmcs(event e, bool protected_mode) -> std::uint32_t {
    auto const information = static_cast<std::uint32_t>(e.raw) & (interruption::valid | 0x7ff);
    bool const error_code{e.type() == event_type::exception and protected_mode and
                          x86::has_error_code(static_cast<x86::exception>(e.vector()))};
    return error_code ? information | interruption::error_code_present : information;
}
/// From IDT vectoring. INT1, INT3 and INTO become the exceptions that they are.
[[nodiscard]] constexpr auto from_vmcs(std::uint32_t information, std::uint32_t error_code) -> event {
    auto const vector = static_cast<std::uint8_t>(information);
    switch (interruption::type_of(information)) {
    case interruption::type::external_interrupt:
    case interruption::type::nmi:
    case interruption::type::software_interrupt:
        return event::make(static_cast<event_type>(information >> 8 & 7), vector);
    default:
        break;
    }
    auto const which = static_cast<x86::exception>(vector);
    return (information & interruption::error_code_present) != 0 ? event::make(which, error_code) : event::make(which);
}
static_assert(to_vmcs(event::make(x86::exception::page_fault, 2), true) == 0x8000'0b0e);
static_assert(to_vmcs(event::make(x86::exception::page_fault, 2), false) == 0x8000'030e);
static_assert(from_vmcs(0x8000'0b0e, 2) == event::make(x86::exception::page_fault, 2));

/// Event delivery. SDM Vol. 3C, "Event Injection" and "Information for VM Exits During Event Delivery".
template <typename WorldSwitch>
class events : public registers<WorldSwitch> {
  public:
    void inject(event e) {
        injection_ = e;
        this->due_ |= due::event;
    }
    [[nodiscard]] auto injection_pending() const -> bool { return injection_.valid(); }
    /// NMIs become blocked when the NMI enters the guest, not when it is put into the slot; so taking it back leaves
    /// the blocking as the guest knows it.
    [[nodiscard]] auto withdraw_injection() -> event {
        auto const e = injection_pending() ? injection_ : event{};
        injection_ = {};
        return e;
    }
    [[nodiscard, gnu::always_inline]] auto take_interrupted_event() -> event {
        if (not interrupted_.valid()) [[likely]]
            return {};
        return std::exchange(interrupted_, {});
    }

    [[nodiscard]] auto interrupt_shadow() const -> bool { return (interruptibility() & this->shadow) != 0; }
    /// STI can only have turned interrupts on.
    void set_interrupt_shadow(bool on) {
        auto const one = (this->rflags() & x86::rflags::interrupt) != 0 ? this->shadow_of_sti : this->shadow_of_mov_ss;
        set_interruptibility((interruptibility() & ~this->shadow) | (on ? one : 0));
    }

    /// The processor itself ends the blocking at IRET: virtual NMIs.
    [[nodiscard]] auto nmi_blocked() const -> bool { return (interruptibility() & this->blocked_by_nmi) != 0; }
    void set_nmi_blocked(bool on) {
        set_interruptibility((interruptibility() & ~this->blocked_by_nmi) | (on ? this->blocked_by_nmi : 0));
    }

    void request_interrupt_window(bool on) { set_primary(primary::interrupt_window_exiting, on); }
    /// An exit when CR8 falls below its present value.
    void watch_task_priority(bool on) {
        if (on or watches_task_priority_)
            this->due_ |= due::task_priority;
        watches_task_priority_ = on;
    }

    [[nodiscard]] auto task_priority() const -> std::uint8_t {
        return static_cast<std::uint8_t>(virtual_apic_->at(task_priority_register) >> 4);
    }
    void set_task_priority(std::uint8_t priority) {
        if (virtual_apic_ != nullptr)
            virtual_apic_->at(task_priority_register) = static_cast<std::uint8_t>(priority << 4);
    }

    void request_nmi_window() {
        nmi_window_requested_ = true;
        this->due_ |= due::nmi_window;
    }

    /// An IRET that faulted, or touched memory that the nested tables do not map, executes again: until then the NMI
    /// that it ends still blocks others. An event that the exit interrupted tells for itself. SDM Vol. 3C, "Information
    /// for VM Exits Due to Vectored Events" and "Exit Qualification for EPT Violations".
    void restore_nmi_blocking() {
        auto& fields = this->vmcs_;
        if (interruption::is_valid(fields.template read<idt_vectoring_information>()))
            return;
        if (static_cast<exit_code>(fields.template read<exit_reason>()) == exit_code::exception_or_nmi) {
            auto const why = fields.template read<vm_exit_interruption_information>();
            if ((why & interruption::unblocked_nmi) != 0 and
                (why & 0xff) != static_cast<unsigned>(x86::exception::double_fault))
                set_nmi_blocked(true);
        } else if ((fields.template read<exit_qualification>() & interruption::unblocked_nmi) != 0) {
            set_nmi_blocked(true);
        }
    }

    /// Looks whether an exit that is no instruction's interrupted the delivery of an event, where nobody has yet.
    [[gnu::always_inline]] void look_for_interrupted_event() {
        if (interruption::is_valid(this->vmcs_.template read<idt_vectoring_information>()) and not interrupted_.valid())
            [[unlikely]]
            note_interrupted_event();
    }

    /// An NMI window may open in the shadow of STI, which holds no NMI back on such processors.
    void end_shadow_of_sti() { set_interruptibility(interruptibility() & ~this->shadow_of_sti); }

  protected:
    [[gnu::noinline]] void note_interrupted_event() {
        after_delivery();
        this->due_ |= due::event; // an entry forgets it
    }

    static constexpr auto task_priority_register = x86::apic::reg::task_priority;

    void before_delivery(bool zero_length_events) {
        auto& fields = this->vmcs_;
        interrupted_ = {}; // whoever did not take it forgets it
        settle_shadow();
        bool const nmi{injection_.valid() and injection_.type() == event_type::nmi};
        // The end of an NMI handler is always reported: whoever has the next NMI waits for it.
        bool const watches_nmis{nmi_window_requested_ or nmi or nmi_blocked()};
        set_primary(primary::nmi_window_exiting, watches_nmis);
        if (watches_nmis)
            this->due_ |= due::nmi_window;
        nmi_window_requested_ = false;
        fields.template write<tpr_threshold>(watches_task_priority_ ? task_priority() : 0);
        if (watches_task_priority_)
            this->due_ |= due::task_priority;
        stepped_back_ = false;
        if (not injection_.valid()) [[likely]] {
            fields.template write<vm_entry_interruption_information>(0);
            return;
        }
        this->due_ |= due::event;
        auto const information = to_vmcs(injection_, (this->cr0() & x86::cr0::pe) != 0);
        fields.template write<vm_entry_interruption_information>(information);
        if ((information & interruption::error_code_present) != 0)
            fields.template write<vm_entry_exception_error_code>(injection_.error_code() & 0x7fff);
        if (injection_.type() == event_type::software_interrupt) {
            // No instruction stands behind it. A processor that insists on one gets it one byte earlier.
            fields.template write<vm_entry_instruction_length>(zero_length_events ? 0 : 1);
            stepped_back_ = not zero_length_events;
            if (stepped_back_)
                fields.template write<guest_rip>(this->rip() - 1);
        }
    }

    /// Remembers the event whose delivery the exit interrupted. INTn, INT1, INT3 and INTO of the guest's own are
    /// forgotten: RIP is still at the instruction, which executes again. What was injected comes back, since no
    /// instruction stands behind it.
    void after_delivery() {
        auto& fields = this->vmcs_;
        interrupted_ = {};
        auto const stepped_back = std::exchange(stepped_back_, false);
        auto const injected = injection_;
        injection_ = {};
        fields.template note<vm_entry_interruption_information>(0);
        auto const information = fields.template read<idt_vectoring_information>();
        if (not interruption::is_valid(information)) [[likely]]
            return;
        auto const e = from_vmcs(information, (information & interruption::error_code_present) != 0
                                                  ? fields.template read<idt_vectoring_error_code>()
                                                  : 0);
        if (injected.valid() and e.type() == injected.type() and e.vector() == injected.vector()) {
            interrupted_ = injected;
            if (stepped_back)
                fields.template write<guest_rip>(this->rip() + 1);
        } else if (not is_instruction_of_guest(information)) {
            interrupted_ = e;
        }
        if (e.type() == event_type::nmi)
            set_nmi_blocked(false); // it was not delivered
    }

    void entry_was_refused() {
        interrupted_ = {};
        if (injection_.valid())
            this->due_ |= due::event;
        if (stepped_back_)
            this->vmcs_.template write<guest_rip>(this->rip() + 1);
    }

    x86::apic::page* virtual_apic_{}; ///< the virtual-APIC page

  private:
    [[nodiscard]] auto interruptibility() const -> std::uint32_t {
        return this->vmcs_.template read<guest_interruptibility_state>();
    }
    void set_interruptibility(std::uint32_t value) { this->vmcs_.template write<guest_interruptibility_state>(value); }
    void set_primary(std::uint32_t control, bool on) {
        auto const now = this->vmcs_.template read<primary_controls>();
        this->vmcs_.template write<primary_controls>(on ? now | control : now & ~control);
    }

    /// In a shadow, VM entry wants the single step of TF pending behind the instruction; and STI only with interrupts
    /// on. SDM Vol. 3C, "Checks on Guest Non-Register State".
    void settle_shadow() {
        auto state = interruptibility();
        if ((state & this->shadow) == 0) [[likely]]
            return;
        bool const by_sti{(state & this->shadow_of_sti) != 0 and (this->rflags() & x86::rflags::interrupt) != 0};
        state = (state & ~this->shadow) | (by_sti ? this->shadow_of_sti : this->shadow_of_mov_ss);
        set_interruptibility(state);
        auto& fields = this->vmcs_;
        auto const pending = fields.template read<guest_pending_debug_exceptions>() & ~this->pending_single_step;
        fields.template write<guest_pending_debug_exceptions>(
            (this->rflags() & x86::rflags::tf) != 0 ? pending | this->pending_single_step : pending);
    }

    [[nodiscard]] static constexpr auto is_instruction_of_guest(std::uint32_t information) -> bool {
        return interruption::type_of(information) >= interruption::type::software_interrupt;
    }

    event injection_{};   ///< by the next entry
    event interrupted_{}; ///< by the last exit, until taken
    bool watches_task_priority_{};
    bool nmi_window_requested_{};
    bool stepped_back_{};
};

} // namespace hv::backends::vmx
