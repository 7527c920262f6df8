// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/exit.hpp>
#include <hv/time.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// Why a virtual machine ended. The first reason wins.
enum class stop_kind : std::uint8_t {
    none,
    power_off,    ///< the guest powered off by ACPI
    reset,        ///< the guest asked for a reset
    exit_code,    ///< the guest wrote the exit port
    requested,    ///< the caller asked for it
    triple_fault, ///< the guest's processor shut down
    halted,       ///< every processor halted with interrupts off: nothing can wake it
    unsupported_instruction,
    outside_memory, ///< what the processor itself reads or writes for the guest lies where there is no memory
    entry_failed,
    isolation_broken,
    machine_check,
    out_of_memory,
    unknown_exit,
};

/// Whether the guest ended by its own wish. All other ends come with a dump.
[[nodiscard]] constexpr auto is_orderly(stop_kind kind) -> bool {
    return kind <= stop_kind::requested and kind != stop_kind::none;
}

/// The printed name of each kind.
[[nodiscard]] constexpr auto name_of(stop_kind kind) -> char const* {
    constexpr std::array names{"none",
                               "power off",
                               "reset",
                               "exit code",
                               "requested",
                               "triple fault",
                               "halted",
                               "unsupported instruction",
                               "outside memory",
                               "entry failed",
                               "isolation broken",
                               "machine check",
                               "out of memory",
                               "unknown exit"};
    return names[static_cast<std::size_t>(kind)];
}

/// In place of a virtual processor's number: none of them.
inline constexpr std::uint32_t no_vcpu{~std::uint32_t{0}};

/// What ends a machine.
struct stop_cause {
    stop_kind kind{stop_kind::none};
    char const* text{""};                       ///< one more detail in words, or empty
    std::uint64_t code{};                       ///< exit code, or the backend's exit code
    std::array<std::uint64_t, 2> information{}; ///< the backend's further words
    instruction_bytes instruction{};            ///< what could not be emulated
};

/// A stop with what is known about it.
struct stop_reason : stop_cause {
    std::uint32_t source{no_vcpu}; ///< the vCPU that could not go on; a device's doing is nobody's
    instant when{};
};

} // namespace hv
