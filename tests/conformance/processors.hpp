// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "devices.hpp"

/// Further processors, in the same 64-bit code, tables and handlers as the first.
namespace payload {

inline constexpr unsigned most_processors{8};

extern "C" {
extern payload::u8 processor_start[], processor_start_end[], processor_stack[], processor_program[];
extern payload::u8 descriptors_pointer[], gates_pointer[], level4[];
}

// Copied to 0x8000: from real mode to 64-bit code with the first processor's page tables. The stack and the program of
// the processor that starts next stand behind it.
asm(R"(
        .text
        .global processor_start, processor_start_end, processor_stack, processor_program
        .code16
processor_start:
        cli
        mov $0x620, %eax
        mov %eax, %cr4
        mov $level4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx
        rdmsr
        or $0x901, %eax
        wrmsr
        xor %ax, %ax
        mov %ax, %ds
        lgdtl descriptors_copy - processor_start + 0x8000
        mov $0x80010033, %eax
        mov %eax, %cr0
        ljmpl $0x08, $processor_start_64
        .balign 8
descriptors_copy: .skip 16
processor_stack: .quad 0
processor_program: .quad 0
processor_start_end:
        .code64
processor_start_64:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov 0x8000 + processor_stack - processor_start, %rsp
        lidt gates_pointer
        xor %ebp, %ebp
        call *0x8000 + processor_program - processor_start
1:      cli
        hlt
        jmp 1b
        .global descriptors_copy
)");
extern "C" payload::u8 descriptors_copy[];

/// Waits give way: QEMU runs processors in turn, and PAUSE is where it changes.
template <typename Condition>
auto wait_for(u64 ms, Condition&& condition) -> bool {
    return wait_until(ms, [&] {
        asm volatile("pause");
        return condition();
    });
}
inline void pass(u64 ms) {
    (void)wait_for(ms, [] { return false; });
}

/// A counter of several processors.
class shared_count {
  public:
    auto add(u32 n = 1) -> u32 { return __atomic_add_fetch(&value_, n, __ATOMIC_SEQ_CST); }
    [[nodiscard]] auto get() const -> u32 { return __atomic_load_n(&value_, __ATOMIC_SEQ_CST); }
    void set(u32 n) { __atomic_store_n(&value_, n, __ATOMIC_SEQ_CST); }
    /// Whether it comes to `n` in time.
    [[nodiscard]] auto reaches(u32 n, u64 ms = 3000) const -> bool {
        return wait_for(ms, [&] { return get() >= n; });
    }

  private:
    u32 value_{};
};

/// Starts the processor with that APIC id in `program`, with interrupts off and its local APIC enabled by itself.
inline void start_processor(u32 apic_id, void (*program)()) {
    static u8 stacks[most_processors][8192] __attribute__((aligned(16)));
    auto* const to = reinterpret_cast<u8 volatile*>(0x8000);
    auto const at = [to](u8 const* what) { return to + (what - processor_start); };
    for (u64 i{}; i != static_cast<u64>(processor_start_end - processor_start); ++i)
        to[i] = processor_start[i];
    for (unsigned i{}; i != 10; ++i)
        at(descriptors_copy)[i] = descriptors_pointer[i];
    *reinterpret_cast<u64 volatile*>(at(processor_stack)) =
        reinterpret_cast<u64>(stacks[apic_id] + sizeof stacks[0]) - 8;
    *reinterpret_cast<u64 volatile*>(at(processor_program)) = reinterpret_cast<u64>(program);
    lapic::send(0x4500, apic_id); // INIT
    pass(1);
    lapic::send(0x4608, apic_id); // start-up, page 8
}

} // namespace payload
