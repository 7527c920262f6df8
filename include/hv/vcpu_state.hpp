// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/register_access.hpp>
#include <hv/status.hpp>
#include <hv/x86/control_checks.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/registers.hpp>
#include <hv/x86/segment_checks.hpp>

#include <cstdint>

/// The registers of a virtual processor that does not run, as somebody outside sets them: a loader, a debugger, a saved
/// state. A value that no processor holds is refused, and nothing changes. Registers that do not go together are not:
/// they come one by one, in any order. The entry tells then, and ends that machine with the check that failed.
namespace hv {

/// Registers that have no function of their own in `hv::vcpu`.
enum class register_name : std::uint8_t {
    rip,
    rflags,
    cr0,
    cr2,
    cr3,
    cr4,
    cr8,
    dr0,
    dr1,
    dr2,
    dr3,
    dr6,
    dr7,
    efer,
    xcr0,
};

enum class descriptor_table_name : std::uint8_t { gdtr, idtr };

/// Sets one register; invalid_argument for bits that this guest's processor does not have.
template <typename Vcpu>
auto set_register(Vcpu& cpu, register_name name, std::uint64_t value) -> status {
    constexpr std::uint64_t defined_flags{0x3f'7fd5 | x86::rflags::fixed_one};
    constexpr auto refused = status::invalid_argument;
    auto& hardware = cpu.hardware();
    switch (name) {
    case register_name::rip:
        if (not x86::is_canonical(value))
            return refused;
        hardware.set_rip(value);
        return status::ok;
    case register_name::rflags:
        if ((value & ~defined_flags) != 0)
            return refused;
        hardware.set_rflags(value);
        return status::ok;
    case register_name::cr0:
        if (not x86::may_write_cr0({}, value))
            return refused;
        hardware.set_cr0(x86::cr0_taken(value));
        return status::ok;
    case register_name::cr2:
        hardware.set_cr2(value);
        return status::ok;
    case register_name::cr3:
        if (value >> physical_address_bits(cpu.cpuid()) != 0)
            return refused;
        hardware.set_cr3(value);
        return status::ok;
    case register_name::cr4:
        if ((value & ~cpu.supported_cr4()) != 0)
            return refused;
        hardware.set_cr4(value);
        return status::ok;
    case register_name::cr8:
        return write_control_register(cpu, 8, value) ? status::ok : refused;
    case register_name::dr0:
    case register_name::dr1:
    case register_name::dr2:
    case register_name::dr3:
        hardware.set_debug_register(static_cast<unsigned>(name) - static_cast<unsigned>(register_name::dr0), value);
        return status::ok;
    case register_name::dr6:
    case register_name::dr7:
        if (value >> 32 != 0)
            return refused;
        hardware.set_debug_register(name == register_name::dr6 ? 6 : 7, value);
        return status::ok;
    case register_name::efer:
        if ((value & ~(cpu.supported_efer() | x86::efer::lma)) != 0)
            return refused;
        hardware.set_efer(value);
        return status::ok;
    case register_name::xcr0:
        return write_extended_control_register(cpu, 0, value) ? status::ok : refused;
    }
    return refused;
}

/// Sets a segment register with its hidden part; invalid_argument for one that VM entry refuses in every mode. Code and
/// data count as accessed.
template <typename Vcpu>
auto set_segment(Vcpu& cpu, x86::segment_name name, x86::segment segment) -> status {
    if ((segment.access & (x86::segment_access::not_system | x86::segment_access::unusable)) ==
        x86::segment_access::not_system)
        segment.access |= x86::segment_access::accessed;
    if (x86::why_segment_is_refused(name, segment) != nullptr)
        return status::invalid_argument;
    cpu.hardware().set_segment(name, segment);
    return status::ok;
}

template <typename Vcpu>
auto set_descriptor_table(Vcpu& cpu, descriptor_table_name name, x86::descriptor_table const& table) -> status {
    if (not x86::is_canonical(table.base))
        return status::invalid_argument;
    name == descriptor_table_name::gdtr ? cpu.hardware().set_gdtr(table) : cpu.hardware().set_idtr(table);
    return status::ok;
}

/// Writes an MSR as the guest would; invalid_argument where that raises #GP.
template <typename Vcpu>
auto set_msr(Vcpu& cpu, std::uint32_t index, std::uint64_t value) -> status {
    return write_msr(cpu, index, value) ? status::ok : status::invalid_argument;
}

} // namespace hv
