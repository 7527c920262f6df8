// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/lapic.hpp>

/// How class lapic takes, ends and sends interrupts.
namespace hv {

/// A legal vector enters IRR. The TMR bit comes first: from then on it belongs to this request.
constexpr auto lapic::request(std::uint8_t vector, bool level) -> lapic_request {
    if (level)
        registers_.tmr.insert(vector);
    else
        registers_.tmr.erase(vector);
    if (registers_.irr.contains(vector))
        return lapic_request::nothing;
    registers_.irr.insert(vector);
    if (vector > highest_request_) {
        highest_request_ = vector;
        moved_ = true;
    }
    return lapic_request::interrupt;
}

constexpr auto lapic::raise_error(std::uint32_t errors) -> lapic_request {
    auto const first = registers_.esr_pending == 0;
    registers_.esr_pending |= errors;
    auto const entry = registers_.entry(local_source::error);
    if (not first or errors == 0 or (entry & x86::apic::lvt::masked) != 0)
        return lapic_request::nothing;
    if (auto const vector = static_cast<std::uint8_t>(entry); vector >= x86::apic::first_legal_vector)
        return request(vector, false);
    registers_.esr_pending |= x86::apic::esr::receive_illegal_vector;
    return lapic_request::nothing;
}

/// Software-disabled, the APIC still passes on NMI, INIT, SMI and start-up. SDM Vol. 3A, "Local APIC State After It Has
/// Been Software Disabled".
constexpr auto lapic::take(delivery_mode mode, std::uint8_t vector, bool level) -> lapic_request {
    switch (mode) {
    case delivery_mode::fixed:
    case delivery_mode::lowest_priority:
        if (not software_enabled())
            return lapic_request::nothing;
        if (vector < x86::apic::first_legal_vector)
            return raise_error(x86::apic::esr::receive_illegal_vector);
        return request(vector, level);
    case delivery_mode::smi:
        return lapic_request::smi;
    case delivery_mode::nmi:
        return lapic_request::nmi;
    case delivery_mode::init:
        return lapic_request::init;
    case delivery_mode::start_up:
        return lapic_request::start_up;
    case delivery_mode::external:
        return software_enabled() ? lapic_request::external : lapic_request::nothing;
    }
    return lapic_request::nothing; // a reserved encoding
}

constexpr auto lapic::signal(local_source source) -> lapic_request {
    auto const lint = source == local_source::lint0 or source == local_source::lint1;
    if (not enabled()) {
        if (not lint)
            return lapic_request::nothing;
        return source == local_source::lint0 ? lapic_request::external : lapic_request::nmi;
    }
    auto const entry = registers_.entry(source);
    if ((entry & x86::apic::lvt::masked) != 0)
        return lapic_request::nothing;
    // The processor masks the entry as it signals an overflow, until software has dealt with it.
    if (source == local_source::performance_counter)
        registers_.set_entry(source, entry | x86::apic::lvt::masked);
    auto const mode =
        static_cast<delivery_mode>((entry & x86::apic::lvt::delivery_mode) >> x86::apic::lvt::delivery_mode_shift);
    switch (mode) {
    case delivery_mode::fixed:
    case delivery_mode::smi:
    case delivery_mode::nmi:
        return take(mode, static_cast<std::uint8_t>(entry), false);
    case delivery_mode::init:
    case delivery_mode::external:
        return lint ? take(mode, 0, false) : lapic_request::nothing;
    default:
        return lapic_request::nothing; // not for local interrupts
    }
}

constexpr void lapic::end_of_interrupt(auto& context) {
    auto const vector = in_service_;
    if (vector == 0)
        return;
    registers_.isr.erase(vector);
    in_service_ = registers_.isr.highest();
    processor_priority_ = registers_.ppr(in_service_);
    moved_ = moved_ or highest_request_ != 0; // the task priority may be what holds it back now
    if (registers_.tmr.contains(vector)) [[unlikely]]
        context.end_of_interrupt(vector);
}

/// A self IPI is sent and received here, so an illegal vector is both errors.
constexpr void lapic::send_to_self(std::uint8_t vector) {
    if (vector < x86::apic::first_legal_vector)
        raise_error(x86::apic::esr::send_illegal_vector | x86::apic::esr::receive_illegal_vector);
    else if (software_enabled())
        (void)request(vector, false);
}

/// A write to ICR. IPIs are edge-triggered whatever the trigger bit says; INIT and start-up do not go to the sender.
/// SDM Vol. 3A, "Interrupt Command Register (ICR)".
constexpr void lapic::send(auto& context, std::uint64_t command) {
    namespace icr = x86::apic::icr;
    auto const low = static_cast<std::uint32_t>(command);
    auto const to = x2apic() ? static_cast<std::uint32_t>(command >> icr::x2apic_destination_shift)
                             : widened_destination(static_cast<std::uint8_t>(command >> icr::xapic_destination_shift));
    interrupt_message const message{
        .destination = to,
        .vector = static_cast<std::uint8_t>(low & icr::vector),
        .mode = static_cast<delivery_mode>((low & icr::delivery_mode) >> icr::delivery_mode_shift),
        .logical = (low & icr::logical) != 0,
        .shorthand = static_cast<destination_shorthand>((low & icr::shorthand) >> icr::shorthand_shift)};
    auto const includes_self = message.shorthand == destination_shorthand::self or
                               message.shorthand == destination_shorthand::all_including_self;
    switch (message.mode) {
    case delivery_mode::fixed:
    case delivery_mode::lowest_priority:
        if (message.shorthand == destination_shorthand::self)
            return send_to_self(message.vector);
        if (message.vector < x86::apic::first_legal_vector) {
            raise_error(x86::apic::esr::send_illegal_vector);
            return;
        }
        break;
    case delivery_mode::nmi:
        break;
    case delivery_mode::init:
        if ((low & icr::level) != 0 and (low & icr::assert_level) == 0)
            return; // level de-assert: processors with an xAPIC have no such message
        [[fallthrough]];
    case delivery_mode::start_up:
        if (includes_self)
            return;
        break;
    default:
        return; // no SMI in a virtual machine; the rest is reserved
    }
    context.send(message);
}

} // namespace hv
