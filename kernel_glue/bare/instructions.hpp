// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/registers.hpp>

#include <cstdint>

/// Instructions that C++ has no words for. SDM Vol. 2, "Instruction Set Reference".
namespace hv::bare {

inline auto in8(std::uint16_t port) -> std::uint8_t {
    std::uint8_t value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline auto in32(std::uint16_t port) -> std::uint32_t {
    std::uint32_t value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline void out8(std::uint16_t port, std::uint8_t value) {
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

inline auto cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) -> x86::cpuid_result {
    x86::cpuid_result r;
    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

inline auto read_tsc() -> std::uint64_t {
    std::uint64_t low, high; // RDTSC clears the upper halves
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return low | high << 32;
}

/// For registers that this processor is known to have; host::read_msr survives the others.
inline auto read_known_msr(std::uint32_t index) -> std::uint64_t {
    std::uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return low | std::uint64_t{high} << 32;
}
inline void write_known_msr(std::uint32_t index, std::uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(index), "a"(static_cast<std::uint32_t>(value)), "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

inline auto read_cr0() -> std::uint64_t {
    std::uint64_t value;
    asm volatile("movq %%cr0, %0" : "=r"(value));
    return value;
}
inline auto read_cr2() -> std::uint64_t {
    std::uint64_t value;
    asm volatile("movq %%cr2, %0" : "=r"(value));
    return value;
}
inline auto read_cr3() -> std::uint64_t {
    std::uint64_t value;
    asm volatile("movq %%cr3, %0" : "=r"(value));
    return value;
}
inline auto read_cr4() -> std::uint64_t {
    std::uint64_t value;
    asm volatile("movq %%cr4, %0" : "=r"(value));
    return value;
}
inline void write_cr0(std::uint64_t value) {
    asm volatile("movq %0, %%cr0" : : "r"(value) : "memory");
}
inline void write_cr3(std::uint64_t value) {
    asm volatile("movq %0, %%cr3" : : "r"(value) : "memory");
}
inline void write_cr4(std::uint64_t value) {
    asm volatile("movq %0, %%cr4" : : "r"(value) : "memory");
}
inline void write_xcr0(std::uint64_t value) {
    asm volatile("xsetbv"
                 :
                 : "c"(0), "a"(static_cast<std::uint32_t>(value)), "d"(static_cast<std::uint32_t>(value >> 32)));
}

/// Nothing runs here any more.
[[noreturn]] inline void stop() {
    for (;;)
        asm volatile("cli; hlt");
}

} // namespace hv::bare
