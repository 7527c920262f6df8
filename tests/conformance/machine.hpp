// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// The processor's instructions as functions, each named after its mnemonic or what it reaches.
namespace payload {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline void out8(u16 port, u8 value) {
    asm volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline void out16(u16 port, u16 value) {
    asm volatile("outw %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline void out32(u16 port, u32 value) {
    asm volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline auto in8(u16 port) -> u8 {
    u8 value{};
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
inline auto in16(u16 port) -> u16 {
    u16 value{};
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
inline auto in32(u16 port) -> u32 {
    u32 value{};
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

inline auto rdmsr(u32 index) -> u64 {
    u32 low{}, high{};
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index) : "memory");
    return u64{high} << 32 | low;
}
inline void wrmsr(u32 index, u64 value) {
    asm volatile("wrmsr" ::"c"(index), "a"(static_cast<u32>(value)), "d"(static_cast<u32>(value >> 32)) : "memory");
}

struct cpuid_values {
    u32 eax, ebx, ecx, edx;
};
inline auto cpuid(u32 leaf, u32 subleaf = 0) -> cpuid_values {
    cpuid_values r{};
    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

inline auto rdtsc() -> u64 {
    u32 low{}, high{};
    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
    return u64{high} << 32 | low;
}

inline auto read_cr0() -> u64 {
    u64 v{};
    asm volatile("mov %%cr0, %0" : "=r"(v)::"memory");
    return v;
}
inline auto read_cr2() -> u64 {
    u64 v{};
    asm volatile("mov %%cr2, %0" : "=r"(v)::"memory");
    return v;
}
inline auto read_cr3() -> u64 {
    u64 v{};
    asm volatile("mov %%cr3, %0" : "=r"(v)::"memory");
    return v;
}
inline auto read_cr4() -> u64 {
    u64 v{};
    asm volatile("mov %%cr4, %0" : "=r"(v)::"memory");
    return v;
}
inline auto read_cr8() -> u64 {
    u64 v{};
    asm volatile("mov %%cr8, %0" : "=r"(v)::"memory");
    return v;
}
inline void write_cr0(u64 v) {
    asm volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}
inline void write_cr2(u64 v) {
    asm volatile("mov %0, %%cr2" ::"r"(v) : "memory");
}
inline void write_cr3(u64 v) {
    asm volatile("mov %0, %%cr3" ::"r"(v) : "memory");
}
inline void write_cr4(u64 v) {
    asm volatile("mov %0, %%cr4" ::"r"(v) : "memory");
}
inline void write_cr8(u64 v) {
    asm volatile("mov %0, %%cr8" ::"r"(v) : "memory");
}
template <unsigned N>
auto read_dr() -> u64 {
    u64 v{};
    asm volatile("mov %%dr%c1, %0" : "=r"(v) : "i"(N) : "memory");
    return v;
}
template <unsigned N>
void write_dr(u64 v) {
    asm volatile("mov %0, %%dr%c1" ::"r"(v), "i"(N) : "memory");
}
inline void invlpg(u64 address) {
    asm volatile("invlpg (%0)" ::"r"(address) : "memory");
}

inline void sti() {
    asm volatile("sti; nop" ::: "memory");
}
inline void cli() {
    asm volatile("cli" ::: "memory");
}
inline void pause() {
    asm volatile("pause" ::: "memory");
}
/// Halts with interrupts on, and comes back with them off: no interrupt between the two is lost.
inline void wait_for_interrupt() {
    asm volatile("sti; hlt; cli" ::: "memory");
}

/// Device registers in memory. The access is one instruction of exactly this width.
template <typename T>
inline auto mmio_read(u64 address) -> T {
    T value{};
    if constexpr (sizeof(T) == 1)
        asm volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
    else if constexpr (sizeof(T) == 2)
        asm volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
    else if constexpr (sizeof(T) == 4)
        asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    else
        asm volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}
template <typename T>
inline void mmio_write(u64 address, T value) {
    if constexpr (sizeof(T) == 1)
        asm volatile("movb %0, (%1)" ::"q"(value), "r"(address) : "memory");
    else if constexpr (sizeof(T) == 2)
        asm volatile("movw %0, (%1)" ::"r"(value), "r"(address) : "memory");
    else if constexpr (sizeof(T) == 4)
        asm volatile("movl %0, (%1)" ::"r"(value), "r"(address) : "memory");
    else
        asm volatile("movq %0, (%1)" ::"r"(value), "r"(address) : "memory");
}

} // namespace payload
