// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/event.hpp>
#include <hv/status.hpp>
#include <hv/x86/exception.hpp>

#include <cstdint>

namespace hv {

/// What one virtual processor still owes its guest: the event whose delivery was interrupted, an exception raised
/// since, an NMI, an ExtINT. NMIs coalesce, as on the processor. Follows vm_entry_intinfo of the reference interface.
class event_queue {
  public:
    /// What an entry has to deliver first.
    struct next {
        event first{};
        bool triple_fault{}; ///< a fault while delivering #DF: the processor shuts down
    };

    /// Records the event whose delivery an exit interrupted. An event that cannot exist is the caller's mistake:
    /// invalid_argument, and nothing changes. An invalid event clears the record.
    constexpr auto set_interrupted(event e) -> status {
        if (not e.valid()) {
            interrupted_ = {};
            note();
            return status::ok;
        }
        if ((e.raw & event::reserved) != 0)
            return status::invalid_argument;
        if (e.type() > event_type::software_interrupt or static_cast<unsigned>(e.type()) == 1)
            return status::invalid_argument; // types that no vendor's event slot shares
        if (e.type() == event_type::nmi and e.vector() != static_cast<std::uint8_t>(x86::exception::nmi))
            return status::invalid_argument;
        if (e.type() == event_type::exception and e.vector() >= 32)
            return status::invalid_argument;
        interrupted_ = e;
        note();
        return status::ok;
    }

    /// Raises an exception in the guest. A second one before the first was delivered combines with it as if the second
    /// happened during delivery of the first: nothing is lost.
    constexpr void raise(event exception) {
        if (exception_.valid() and not interrupted_.valid())
            interrupted_ = exception_;
        exception_ = exception;
        note();
    }

    constexpr void raise_nmi() { waiting_ |= nmi; }
    constexpr void clear_nmi() { waiting_ &= static_cast<std::uint8_t>(~nmi); }
    constexpr void raise_external() { waiting_ |= external; }
    constexpr void clear_external() { waiting_ &= static_cast<std::uint8_t>(~external); }

    [[nodiscard]] constexpr auto nmi_pending() const -> bool { return (waiting_ & nmi) != 0; }
    [[nodiscard]] constexpr auto external_pending() const -> bool { return (waiting_ & external) != 0; }
    [[nodiscard]] constexpr auto interrupted() const -> event { return interrupted_; }
    [[nodiscard]] constexpr auto exception() const -> event { return exception_; }

    /// Whether an interrupted event or an exception waits: these go before everything else.
    [[nodiscard]] constexpr auto must_deliver() const -> bool { return (waiting_ & owed) != 0; }
    /// Whether that is an external interrupt alone. It was acknowledged, but the guest may not take one at present.
    [[nodiscard]] constexpr auto holds_interrupt() const -> bool {
        return interrupted_.valid() and interrupted_.type() == event_type::external_interrupt and
               not exception_.valid();
    }
    [[nodiscard]] constexpr auto empty() const -> bool { return waiting_ == 0; }
    /// Not zero unless it is empty.
    [[nodiscard]] constexpr auto waiting() const -> std::uint8_t { return waiting_; }

    /// Takes what goes first of an interrupted event and an exception. SDM Vol. 3A, "Interrupt 8—Double Fault
    /// Exception (#DF)": contributory after contributory, and contributory or page fault after page fault, make #DF;
    /// either during delivery of #DF is a triple fault. Otherwise the exception goes first and the event it
    /// interrupted waits for its turn.
    constexpr auto take() -> next {
        auto const taken = take_first();
        note();
        return taken;
    }

    constexpr void clear() { *this = {}; }

  private:
    static constexpr std::uint8_t nmi{1u << 0}, external{1u << 1}, owed{1u << 2};

    /// Follows each change of an interrupted event or exception.
    constexpr void note() {
        bool const any{interrupted_.valid() or exception_.valid()};
        waiting_ = static_cast<std::uint8_t>((waiting_ & ~owed) | (any ? owed : 0));
    }

    constexpr auto take_first() -> next {
        if (not interrupted_.valid() or not exception_.valid()) {
            auto const e = interrupted_.valid() ? interrupted_ : exception_;
            interrupted_ = {};
            exception_ = {};
            return {.first = e};
        }
        auto const first = interrupted_;
        auto const second = exception_;
        exception_ = {};
        auto const during = class_of(first);
        auto const now = class_of(second);
        if (is_double_fault(first) and now != severity::benign) {
            interrupted_ = {};
            return {.triple_fault = true};
        }
        if ((during == severity::contributory and now == severity::contributory) or
            (during == severity::page_fault and now != severity::benign)) {
            interrupted_ = {};
            return {.first = event::make(x86::exception::double_fault, 0)};
        }
        // A fault while an exception was being delivered restarts the instruction that raised the first; only what
        // came from outside would be lost and must be delivered again.
        if (first.type() != event_type::external_interrupt)
            interrupted_ = {};
        if (first.type() == event_type::nmi)
            raise_nmi(); // like every NMI it waits for the end of a shadow, or of another NMI
        return {.first = second};
    }

    enum class severity : std::uint8_t { benign, contributory, page_fault };

    [[nodiscard]] static constexpr auto is_double_fault(event e) -> bool {
        return e.type() == event_type::exception and
               e.vector() == static_cast<std::uint8_t>(x86::exception::double_fault);
    }

    [[nodiscard]] static constexpr auto class_of(event e) -> severity {
        if (e.type() != event_type::exception)
            return severity::benign;
        switch (static_cast<x86::exception>(e.vector())) {
        case x86::exception::page_fault:
        case x86::exception::virtualization:
            return severity::page_fault;
        case x86::exception::divide_error:
        case x86::exception::invalid_tss:
        case x86::exception::segment_not_present:
        case x86::exception::stack_fault:
        case x86::exception::general_protection:
        case x86::exception::control_protection:
        case x86::exception::double_fault:
            return severity::contributory;
        default:
            return severity::benign;
        }
    }

    event interrupted_{};
    event exception_{};
    std::uint8_t waiting_{}; ///< NMI, ExtINT, and whether either of these is there
};

} // namespace hv
