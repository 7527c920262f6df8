// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/device_context.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/x86/apic.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>

/// How a vCPU and its processor share the local APIC: the device owns it between exits, and a processor that runs it
/// has it lent while the guest is in. Machines without the policy find nothing here.
namespace hv {

/// Whether the processor runs the local APIC now: then nobody else delivers what that holds.
template <typename Vcpu>
[[nodiscard]] auto processor_has_apic(Vcpu& cpu) -> bool {
    if constexpr (Vcpu::runs_apic)
        return cpu.hardware().runs_apic_as() != virtual_apic::off;
    else
        return false;
}

/// Gives the processor the local APIC, or takes it away. Software-disabled it stays with the device, which alone knows
/// that self IPIs are lost then.
template <typename Vcpu>
void choose_apic(Vcpu& cpu) {
    if constexpr (Vcpu::runs_apic) {
        auto const& apic = cpu.apic();
        auto const as = not apic.software_enabled() ? virtual_apic::off
                        : apic.x2apic()             ? virtual_apic::x2apic
                                                    : virtual_apic::xapic;
        bool const moves{cpu.hardware().runs_apic_as() != as};
        if (moves) [[unlikely]]
            cpu.hardware().run_apic(as);
        if (moves or (as != virtual_apic::xapic and cpu.machine().shows_apic_window())) [[unlikely]]
            cpu.machine().place_apic_window(cpu); // the window may be older than the vCPU
    }
}

/// The last act before an entry.
template <typename Vcpu>
void lend_apic(Vcpu& cpu) {
    if constexpr (Vcpu::runs_apic)
        if (processor_has_apic(cpu)) [[likely]]
            cpu.apic().lend(cpu.hardware().apic_page());
}

/// The first act behind an exit: the guest moved its task priority without one, and all that a processor moves that
/// runs the APIC.
template <typename Vcpu>
[[gnu::always_inline]] inline void fetch_apic(Vcpu& cpu) {
    if constexpr (Vcpu::has_lapic) {
        if constexpr (Vcpu::runs_apic)
            if (processor_has_apic(cpu)) [[likely]] {
                cpu.apic().take_back(cpu.hardware().apic_page());
                return cpu.show_priority();
            }
        if (auto const priority = cpu.hardware().task_priority(); priority != cpu.apic().task_priority()) [[unlikely]] {
            cpu.apic().set_task_priority(priority);
            cpu.show_priority();
        }
    }
}

/// The processor put `value` at `offset` of the APIC's page: the device does what follows from that.
template <typename Vcpu>
void write_apic(Vcpu& cpu, std::uint16_t offset, std::uint32_t value) {
    if constexpr (Vcpu::has_lapic) {
        register_context context{cpu};
        if (cpu.apic().x2apic())
            static_cast<void>(cpu.local().write_msr(context, x86::msr::x2apic_first + offset / 16, value));
        else
            static_cast<void>(cpu.local().write_mmio(context, x86::apic::default_base + offset, 4, value));
    }
}

} // namespace hv
