// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/emulate/instruction.hpp>
#include <hv/memory/guest_memory.hpp>
#include <hv/memory/guest_walk.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/registers.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace hv {

template <typename M>
concept guest_memory_reference = std::is_lvalue_reference_v<M> and guest_memory<std::remove_reference_t<M>>;

/// What the emulator needs of a virtual processor: its registers, its memory, and what lies behind its ports and
/// device memory. Sizes are 1, 2, 4 or 8 bytes; device accesses are naturally aligned.
template <typename C>
concept emulation_cpu =
    requires(C& cpu, C const& constant, x86::gpr gpr, x86::segment_name name, gpa address, std::uint16_t port,
             unsigned size, unsigned number, std::uint64_t value, std::uint32_t narrow) {
        { constant.gpr(gpr) } -> std::same_as<std::uint64_t>;
        { cpu.set_gpr(gpr, value) } -> std::same_as<void>;
        { constant.rip() } -> std::same_as<std::uint64_t>;
        { cpu.set_rip(value) } -> std::same_as<void>;
        { constant.rflags() } -> std::same_as<std::uint64_t>;
        { cpu.set_rflags(value) } -> std::same_as<void>;
        { constant.cr0() } -> std::same_as<std::uint64_t>;
        { constant.cr3() } -> std::same_as<std::uint64_t>;
        { constant.cr4() } -> std::same_as<std::uint64_t>;
        { constant.efer() } -> std::same_as<std::uint64_t>;
        { constant.segment(name) } -> std::same_as<x86::segment>;
        { constant.cpl() } -> std::same_as<std::uint8_t>;
        { cpu.memory() } -> guest_memory_reference;
        { cpu.read_mmio(address, size) } -> std::same_as<std::uint64_t>;
        { cpu.write_mmio(address, size, value) } -> std::same_as<void>;
        { cpu.read_port(port, size) } -> std::same_as<std::uint32_t>;
        { cpu.write_port(port, size, narrow) } -> std::same_as<void>;
        { cpu.read_control_register(number) } -> std::same_as<std::uint64_t>;
        { cpu.write_control_register(number, value) } -> std::same_as<bool>; // false: #GP(0)
        { cpu.read_debug_register(number) } -> std::same_as<std::uint64_t>;
        { cpu.write_debug_register(number, value) } -> std::same_as<void>;
    };

/// A processor some of whose devices are served by somebody who must be asked first. After an access whose answer is
/// not there yet `access_pending` is true; the emulator then stops before it changes a register, and the instruction
/// is run again later, with the same accesses in the same order: those already answered are replayed.
/// `accesses_committed` says that an instruction, or one element of a repeated one, is complete.
template <typename C>
concept restartable_cpu = requires(C& cpu) {
    { cpu.access_pending() } -> std::same_as<bool>;
    { cpu.accesses_committed() } -> std::same_as<void>;
};

/// A processor that shares devices with others. What is read of one between `begin_update` and `end_update` stays as it
/// is until then, but for what this processor writes.
template <typename C>
concept updating_cpu = requires(C& cpu) {
    { cpu.begin_update() } -> std::same_as<void>;
    { cpu.end_update() } -> std::same_as<void>;
};

namespace detail {

template <emulation_cpu Cpu>
[[nodiscard]] constexpr auto is_pending(Cpu& cpu) -> bool {
    if constexpr (restartable_cpu<Cpu>)
        return cpu.access_pending();
    else
        return false;
}

template <emulation_cpu Cpu>
[[nodiscard]] auto code_size_of(Cpu const& cpu) -> code_size {
    auto const access = cpu.segment(x86::segment_name::cs).access;
    if ((cpu.efer() & x86::efer::lma) != 0 and (access & x86::segment_access::long_mode) != 0)
        return code_size::bits_64;
    return (access & x86::segment_access::default_big) != 0 ? code_size::bits_32 : code_size::bits_16;
}

/// Protected mode with its segment protection: neither real-address nor virtual-8086 mode.
template <emulation_cpu Cpu>
[[nodiscard]] auto has_protection(Cpu const& cpu) -> bool {
    return (cpu.cr0() & x86::cr0::pe) != 0 and (cpu.rflags() & x86::rflags::vm) == 0;
}

/// A processor that knows more of its paging than the registers tell (its physical address width) has `paging()`.
template <emulation_cpu Cpu>
[[nodiscard]] auto paging_of(Cpu const& cpu) -> paging_state {
    if constexpr (requires { cpu.paging(); })
        return cpu.paging();
    else
        return {.cr0 = cpu.cr0(),
                .cr3 = cpu.cr3(),
                .cr4 = cpu.cr4(),
                .efer = cpu.efer(),
                .rflags = cpu.rflags(),
                .cpl = cpu.cpl()};
}

/// Linear addresses have 48 bits: the guest's walk knows four levels. SDM Vol. 1, "Canonical Addressing".
[[nodiscard]] constexpr auto is_canonical(std::uint64_t linear) -> bool {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << 16) >> 16) == linear;
}

} // namespace detail
} // namespace hv
