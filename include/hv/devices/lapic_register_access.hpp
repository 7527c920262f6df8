// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/lapic.hpp>

/// How the guest reaches the registers of class lapic: by memory or MSR, in its mode of the moment.
namespace hv {

/// SDM Vol. 3A, "x2APIC State Transitions". Switching the APIC off loses its state.
constexpr auto lapic::write_apic_base(std::uint64_t value) -> bool {
    namespace base = x86::apic::base;
    auto const old = registers_.apic_base;
    if (((value ^ old) & ~(base::enable | base::extended)) != 0)
        return false; // reserved bits, the bootstrap-processor flag, and the address, which does not move
    auto const enable = (value & base::enable) != 0;
    auto const extended = (value & base::extended) != 0;
    if (extended and (not enable or not enabled()))
        return false; // x2APIC mode starts from xAPIC mode only
    if (x2apic() and enable and not extended)
        return false; // and ends by switching off only
    if (value != old)
        change_mode(value);
    return true;
}

constexpr void lapic::change_mode(std::uint64_t base) {
    auto const was_x2apic = x2apic();
    registers_.apic_base = base;
    if (not enabled())
        registers_.initialize();
    else if (x2apic() != was_x2apic) {
        registers_.ldr = 0;
        registers_.dfr = 0xffffffff;
        registers_.icr &= 0xffffffff;
    }
    update();
}

/// Whether a WRMSR sets no reserved bit. Read-only status bits may be written back.
constexpr auto lapic::x2apic_accepts(reg number, std::uint64_t value) -> bool {
    namespace lvt = x86::apic::lvt;
    auto const only = [value](std::uint64_t bits) { return (value & ~bits) == 0; };
    switch (number) {
    case reg::end_of_interrupt:
    case reg::error_status:
        return only(0);
    case reg::task_priority:
    case reg::self_ipi:
        return only(0xff);
    case reg::spurious_interrupt_vector:
        return only(lapic_registers::svr_writable);
    case reg::interrupt_command:
        return only(0xffffffff'00000000 | lapic_registers::icr_low_writable | x86::apic::icr::delivery_status);
    case reg::initial_count:
        return only(0xffffffff);
    case reg::divide_configuration:
        return only(lapic_timer::divide_bits);
    case reg::lvt_timer:
        return only(lvt_writable(local_source::timer) | lvt::delivery_status) and
               (value & lvt::timer_mode) != lvt::timer_mode;
    case reg::lvt_error:
        return only(lvt_writable(local_source::error) | lvt::delivery_status);
    case reg::lvt_lint0:
    case reg::lvt_lint1:
        return only(lvt_writable(local_source::lint0) | lvt::delivery_status | lvt::remote_irr);
    default:
        return only(lvt_writable(local_source::cmci) | lvt::delivery_status);
    }
}

constexpr auto lapic::read_msr(auto& context, std::uint32_t index, std::uint64_t& out) -> bool {
    if (index == x86::msr::ia32_apic_base) {
        out = registers_.apic_base;
        return true;
    }
    if (index == x86::msr::ia32_tsc_deadline) {
        out = registers_.timer.tsc_deadline();
        return true;
    }
    auto const number = index - x86::msr::x2apic_first;
    if (not x2apic() or not lapic_access::contains(lapic_access::x2apic_readable, number))
        return false;
    auto const which = static_cast<reg>(number);
    out = which == reg::interrupt_command ? registers_.icr : read_register(context, which);
    return true;
}

constexpr auto lapic::read_msr_at_once(std::uint32_t index, std::uint64_t& out) const -> bool {
    if (index != x86::msr::ia32_apic_base)
        return false;
    out = registers_.apic_base;
    return true;
}

constexpr auto lapic::write_msr(auto& context, std::uint32_t index, std::uint64_t value) -> bool {
    if (index == x86::msr::ia32_tsc_deadline) {
        registers_.timer.set_tsc_deadline(context, value);
        return true;
    }
    if (index == x86::msr::x2apic_first + static_cast<unsigned>(reg::task_priority) and x2apic() and value <= 0xff) {
        write_task_priority(static_cast<std::uint8_t>(value));
        return true;
    }
    return write_other_msr(context, index, value);
}

constexpr auto lapic::write_msr_at_once(auto& context, std::uint32_t index, std::uint64_t value) -> bool {
    auto const is = [index](reg which) { return index == x86::msr::x2apic_first + static_cast<unsigned>(which); };
    if (is(reg::end_of_interrupt) and value == 0 and x2apic()) {
        end_of_interrupt(context);
        return true;
    }
    if (is(reg::self_ipi) and value >= x86::apic::first_legal_vector and value <= 0xff and x2apic()) {
        if ((registers_.svr & x86::apic::svr::software_enable) != 0)
            (void)request(static_cast<std::uint8_t>(value), false);
        return true;
    }
    return false;
}

auto lapic::write_command(auto& context, std::uint64_t value) -> bool {
    if (not x2apic() or not x2apic_accepts(reg::interrupt_command, value))
        return false;
    registers_.icr = value & ~std::uint64_t{x86::apic::icr::delivery_status};
    send(context, value);
    return true;
}

auto lapic::write_other_msr(auto& context, std::uint32_t index, std::uint64_t value) -> bool {
    if (index == x86::msr::ia32_apic_base)
        return write_apic_base(value);
    auto const number = index - x86::msr::x2apic_first;
    if (not x2apic() or not lapic_access::contains(lapic_access::x2apic_writable, number))
        return false;
    auto const which = static_cast<reg>(number);
    if (which == reg::interrupt_command)
        return write_command(context, value);
    if (not x2apic_accepts(which, value))
        return false;
    write_register(context, which, static_cast<std::uint32_t>(value));
    return true;
}

constexpr auto lapic::read_register(auto& context, reg number) const -> std::uint32_t {
    auto const& r = registers_;
    auto const n = static_cast<unsigned>(number);
    switch (number) {
    case reg::id:
        return r.id_register();
    case reg::version:
        return lapic_registers::version;
    case reg::task_priority:
        return r.tpr;
    case reg::arbitration_priority:
        return r.apr(in_service_, highest_request_);
    case reg::processor_priority:
        return processor_priority_;
    case reg::logical_destination:
        return r.ldr_register();
    case reg::destination_format:
        return r.dfr;
    case reg::spurious_interrupt_vector:
        return r.svr;
    case reg::error_status:
        return r.esr;
    case reg::interrupt_command:
        return static_cast<std::uint32_t>(r.icr);
    case reg::interrupt_command_high:
        return static_cast<std::uint32_t>(r.icr >> 32);
    case reg::lvt_cmci:
        return r.entry(local_source::cmci);
    case reg::lvt_timer:
        return r.entry(local_source::timer);
    case reg::lvt_thermal_sensor:
        return r.entry(local_source::thermal_sensor);
    case reg::lvt_performance_counter:
        return r.entry(local_source::performance_counter);
    case reg::lvt_lint0:
        return r.entry(local_source::lint0);
    case reg::lvt_lint1:
        return r.entry(local_source::lint1);
    case reg::lvt_error:
        return r.entry(local_source::error);
    case reg::initial_count:
        return r.timer.initial_count();
    case reg::current_count:
        return r.timer.current_count(context.now());
    case reg::divide_configuration:
        return r.timer.divide_configuration();
    default:
        break;
    }
    if (n >= static_cast<unsigned>(reg::in_service) and n < static_cast<unsigned>(reg::error_status)) {
        auto const& set = n < static_cast<unsigned>(reg::trigger_mode)        ? r.isr
                          : n < static_cast<unsigned>(reg::interrupt_request) ? r.tmr
                                                                              : r.irr;
        return set.words[n & 7];
    }
    return 0; // write-only, or remote read, which no processor with an xAPIC does
}

constexpr void lapic::write_register(auto& context, reg number, std::uint32_t value) {
    auto& r = registers_;
    switch (number) {
    case reg::end_of_interrupt:
        return end_of_interrupt(context);
    case reg::task_priority:
        return write_task_priority(static_cast<std::uint8_t>(value));
    case reg::logical_destination:
        r.ldr = value & 0xff000000;
        return;
    case reg::destination_format:
        r.dfr = value | lapic_registers::dfr_fixed;
        return;
    case reg::spurious_interrupt_vector:
        return r.set_svr(value);
    case reg::error_status: // shows what was recorded, and arms the error entry of the LVT again
        r.esr = r.esr_pending;
        r.esr_pending = 0;
        return;
    case reg::interrupt_command:
        r.icr = (r.icr & 0xffffffff'00000000) | (value & lapic_registers::icr_low_writable);
        return send(context, r.icr);
    case reg::interrupt_command_high:
        r.icr = (r.icr & 0xffffffff) | std::uint64_t{value & 0xff000000} << 32;
        return;
    case reg::lvt_cmci:
        return r.set_entry(local_source::cmci, value);
    case reg::lvt_timer:
        expire(context); // a timer that is due fires by the entry it was due under
        r.set_entry(local_source::timer, value);
        return r.timer.set_mode(
            static_cast<lapic_timer::mode>((value & x86::apic::lvt::timer_mode) >> x86::apic::lvt::timer_mode_shift));
    case reg::lvt_thermal_sensor:
        return r.set_entry(local_source::thermal_sensor, value);
    case reg::lvt_performance_counter:
        return r.set_entry(local_source::performance_counter, value);
    case reg::lvt_lint0:
        return r.set_entry(local_source::lint0, value);
    case reg::lvt_lint1:
        return r.set_entry(local_source::lint1, value);
    case reg::lvt_error:
        return r.set_entry(local_source::error, value);
    case reg::initial_count:
        return r.timer.set_initial_count(context.now(), value);
    case reg::divide_configuration:
        return r.timer.set_divide_configuration(context.now(), value);
    case reg::self_ipi:
        return send_to_self(static_cast<std::uint8_t>(value));
    default:
        return; // read-only
    }
}

} // namespace hv
