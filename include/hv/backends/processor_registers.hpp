// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstdint>

namespace hv::backends {

/// Registers that neither vendor's entry exchanges, or not always. Tests cannot touch them and bring their own class
/// with the same functions.
struct processor_registers {
    [[nodiscard]] static auto read_cr2() -> std::uint64_t {
        std::uint64_t value;
        asm volatile("mov %%cr2, %0" : "=r"(value));
        return value;
    }
    static void write_cr2(std::uint64_t value) { asm volatile("mov %0, %%cr2" : : "r"(value)); }

    [[nodiscard]] static auto read_debug_registers() -> std::array<std::uint64_t, 4> {
        std::array<std::uint64_t, 4> d;
        asm volatile("mov %%dr0, %0\n\tmov %%dr1, %1\n\tmov %%dr2, %2\n\tmov %%dr3, %3"
                     : "=&r"(d[0]), "=&r"(d[1]), "=&r"(d[2]), "=&r"(d[3]));
        return d;
    }
    static void write_debug_registers(std::array<std::uint64_t, 4> const& d) {
        asm volatile("mov %0, %%dr0\n\tmov %1, %%dr1\n\tmov %2, %%dr2\n\tmov %3, %%dr3"
                     :
                     : "r"(d[0]), "r"(d[1]), "r"(d[2]), "r"(d[3]));
    }
    [[nodiscard]] static auto read_debug_status() -> std::uint64_t {
        std::uint64_t value;
        asm volatile("mov %%dr6, %0" : "=r"(value));
        return value;
    }
    static void write_debug_status(std::uint64_t value) { asm volatile("mov %0, %%dr6" : : "r"(value)); }
    [[nodiscard]] static auto read_debug_control() -> std::uint64_t {
        std::uint64_t value;
        asm volatile("mov %%dr7, %0" : "=r"(value));
        return value;
    }
    static void write_debug_control(std::uint64_t value) { asm volatile("mov %0, %%dr7" : : "r"(value)); }

    /// To an MSR that this processor is known to have, with a value that it takes.
    [[gnu::always_inline]] static void write_msr(std::uint32_t index, std::uint64_t value) {
        asm volatile("wrmsr"
                     :
                     : "c"(index), "a"(static_cast<std::uint32_t>(value)), "d"(static_cast<std::uint32_t>(value >> 32))
                     : "memory");
    }

    [[nodiscard]] static auto read_xcr0() -> std::uint64_t {
        std::uint32_t low, high;
        asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return std::uint64_t{high} << 32 | low;
    }
    static void write_xcr0(std::uint64_t value) {
        asm volatile("xsetbv"
                     :
                     : "a"(static_cast<std::uint32_t>(value)), "d"(static_cast<std::uint32_t>(value >> 32)), "c"(0)
                     : "memory");
    }
};

} // namespace hv::backends
