// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/lapic.hpp>

/// How class lapic lends its registers to a processor that runs it while the guest is in. SDM Vol. 3C, "APIC
/// Virtualization and Virtual Interrupts".
namespace hv {

constexpr void lapic::lend(x86::apic::page& page) {
    auto& r = registers_;
    page.at(reg::id) = r.id_register();
    page.at(reg::version) = lapic_registers::version;
    page.at(reg::task_priority) = r.tpr;
    page.at(reg::processor_priority) = processor_priority_;
    page.at(reg::logical_destination) = r.ldr_register();
    page.at(reg::destination_format) = r.dfr;
    page.at(reg::spurious_interrupt_vector) = r.svr;
    for (unsigned i{}; i != 8; ++i) {
        page.at(reg::in_service, i) = r.isr.words[i];
        page.at(reg::trigger_mode, i) = r.tmr.words[i];
        page.at(reg::interrupt_request, i) = r.irr.words[i];
    }
    page.at(reg::error_status) = r.esr;
    page.at(reg::interrupt_command) = static_cast<std::uint32_t>(r.icr);
    page.at(reg::interrupt_command_high) = page.upper_half(reg::interrupt_command) =
        static_cast<std::uint32_t>(r.icr >> 32);
    page.at(reg::lvt_cmci) = r.entry(local_source::cmci);
    page.at(reg::lvt_timer) = r.entry(local_source::timer);
    page.at(reg::lvt_thermal_sensor) = r.entry(local_source::thermal_sensor);
    page.at(reg::lvt_performance_counter) = r.entry(local_source::performance_counter);
    page.at(reg::lvt_lint0) = r.entry(local_source::lint0);
    page.at(reg::lvt_lint1) = r.entry(local_source::lint1);
    page.at(reg::lvt_error) = r.entry(local_source::error);
    page.at(reg::initial_count) = r.timer.initial_count();
    page.at(reg::divide_configuration) = r.timer.divide_configuration();
    r.irr = {};
    update();
}

/// Of all else the processor writes no more than what exits::apic_write tells of.
constexpr void lapic::take_back(x86::apic::page const& page) {
    auto& r = registers_;
    r.tpr = static_cast<std::uint8_t>(page.at(reg::task_priority));
    for (unsigned i{}; i != 8; ++i) {
        r.isr.words[i] = page.at(reg::in_service, i);
        r.irr.words[i] |= page.at(reg::interrupt_request, i);
    }
    if (not x2apic())
        r.icr = std::uint64_t{page.at(reg::interrupt_command_high) & 0xff000000} << 32 |
                (page.at(reg::interrupt_command) & lapic_registers::icr_low_writable);
    update();
}

} // namespace hv
