// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/device_context.hpp>

#include <cstdint>
#include <type_traits>

/// IN and OUT as one virtual processor does them at the devices of its machine, for exits and for the emulator.
namespace hv {

/// What an IN of one byte reads. Most exits are one of these, so what finds the device stands where they are served.
template <typename Vcpu>
[[nodiscard, gnu::always_inline]] inline auto read_port_byte(Vcpu& cpu, std::uint16_t port) -> std::uint8_t {
    using vm = std::remove_reference_t<decltype(cpu.machine())>;
    // Where the board has a lock, one context takes and gives it for all devices.
    std::conditional_t<Vcpu::is_parallel, machine_context<vm>, machine_context_maker<vm>> context{cpu.machine()};
    bool claimed{true};
    auto const value = cpu.machine().devices().read_port_byte(context, port, claimed);
    if (not claimed) [[unlikely]]
        ++cpu.stats().unclaimed_ports;
    return static_cast<std::uint8_t>(value);
}

/// An OUT of one byte.
template <typename Vcpu>
[[gnu::always_inline]] inline void write_port_byte(Vcpu& cpu, std::uint16_t port, std::uint8_t value) {
    machine_context context{cpu.machine()};
    bool claimed{true};
    cpu.machine().devices().write_port_byte(context, port, value, claimed);
    if (not claimed) [[unlikely]]
        ++cpu.stats().unclaimed_ports;
}

/// What an IN of 1, 2 or 4 bytes reads.
template <typename Vcpu>
[[nodiscard, gnu::noinline]] auto read_port(Vcpu& cpu, std::uint16_t port, unsigned size) -> std::uint32_t {
    machine_context context{cpu.machine()};
    bool claimed{true};
    auto const value = cpu.machine().devices().read_port(context, port, size, claimed);
    if (not claimed) [[unlikely]]
        ++cpu.stats().unclaimed_ports;
    return value;
}

/// An OUT of 1, 2 or 4 bytes.
template <typename Vcpu>
[[gnu::noinline]] void write_port(Vcpu& cpu, std::uint16_t port, unsigned size, std::uint32_t value) {
    machine_context context{cpu.machine()};
    bool claimed{true};
    cpu.machine().devices().write_port(context, port, size, value, claimed);
    if (not claimed) [[unlikely]]
        ++cpu.stats().unclaimed_ports;
}

} // namespace hv
