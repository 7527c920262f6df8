// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/platform.hpp>
#include <hv/meta/tuple.hpp>

#include <cstdint>
#include <string_view>

namespace hv::guest {

namespace detail {

/// Enters a device into the description, by its name and what it declares.
template <typename Device>
constexpr void describe(platform& p) {
    constexpr std::string_view name{Device::name};
    if constexpr (name == "pic_8259")
        p.pic_8259 = true;
    if constexpr (name == "keyboard_controller")
        p.keyboard_controller = true;
    if constexpr (name == "rtc_mc146818")
        p.rtc = true;
    if constexpr (name == "lapic")
        p.local_apic = static_cast<std::uint32_t>(Device::mmio[0].first);
    if constexpr (name == "ioapic")
        p.io_apic = static_cast<std::uint32_t>(Device::mmio[0].first);
    if constexpr (name == "hpet")
        p.hpet = static_cast<std::uint32_t>(Device::mmio[0].first);
    if constexpr (name == "pm_timer") {
        p.pm1_event = Device::event_port;
        p.pm1_control = Device::control_port;
        p.pm_timer = Device::timer_port;
        p.sleep_type_s5 = Device::slp_typ_s5;
        p.sci_line = Device::system_control_interrupt.number;
        p.reset_port = Device::reset_port;
        p.reset_value = Device::reset_value;
    }
    if constexpr (name == "uart_16550") {
        if (p.uart == 0) {
            p.uart = Device::ports[0].first;
            p.uart_line = Device::lines[0].number;
        }
    }
}

template <typename... Devices>
[[nodiscard]] constexpr auto platform_with(meta::types<Devices...>) -> platform {
    platform p{.io_apic = 0,
               .pic_8259 = false,
               .keyboard_controller = false,
               .rtc = false,
               .hpet = 0,
               .pm1_event = 0,
               .pm1_control = 0,
               .pm_timer = 0,
               .reset_port = 0,
               .uart = 0};
    (describe<Devices>(p), ...);
    return p;
}

} // namespace detail

/// What firmware tables say about a machine: its devices, where they say they are, and its processors.
template <typename Machine>
[[nodiscard]] constexpr auto acpi_of(topology const& processors = {.cores = Machine::max_vcpus}) -> platform {
    auto p = detail::platform_with(typename Machine::devices::all{});
    p.processors = processors.processors();
    p.arrangement = processors;
    return p;
}

} // namespace hv::guest
