// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "devices.hpp"

/// Further processors, in the same 64-bit code, tables and handlers as the first.
namespace payload {

inline constexpr unsigned most_processors{8};
inline constexpr u8 start_up_page{8};

/// The lower half of a command for other processors: what, and who besides those of one physical destination.
namespace ipi {
inline constexpr u32 fixed{0x4000}, lowest_priority{0x4100}, nmi{0x4400}, init{0x4500}, start_up{0x4600};
inline constexpr u32 logical{0x800}, to_self{0x40000}, to_all{0x80000}, to_others{0xc0000};
} // namespace ipi

extern "C" {
extern payload::u8 processor_start[], processor_start_end[], processor_descriptors[];
extern payload::u8 descriptors_pointer[];
extern unsigned const payload_processors;
inline payload::u8 processor_stacks[most_processors][8192] __attribute__((aligned(4096), used));
inline void (*processor_programs[most_processors])() __attribute__((used));
}

/// How many this payload was told to expect: `// processors: N`, and the numbers behind `// also with:`.
inline auto processor_count() -> unsigned {
    return payload_processors;
}

/// The number of the processor that executes this: its APIC id, found without asking the APIC.
inline auto own_number() -> unsigned {
    u64 stack{};
    asm volatile("mov %%rsp, %0" : "=r"(stack));
    auto const offset = stack - reinterpret_cast<u64>(processor_stacks);
    return offset < sizeof processor_stacks ? static_cast<unsigned>(offset / sizeof processor_stacks[0]) : 0;
}

// Copied to 0x8000: from real mode to 64-bit code with the first processor's page tables, then to the stack and the
// program of this processor's APIC id. Several may come through at the same time.
asm(R"(
        .text
        .global processor_start, processor_start_end, processor_descriptors
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
        lgdtl processor_descriptors - processor_start + 0x8000
        mov $0x80010033, %eax
        mov %eax, %cr0
        ljmpl $0x08, $processor_start_64
        .balign 8
processor_descriptors: .skip 16
processor_start_end:
        .code64
processor_start_64:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $1, %eax
        cpuid
        shr $24, %ebx
        lea 1(%rbx), %esp
        shl $13, %esp
        add $processor_stacks, %rsp
        lidt gates_pointer
        xor %ebp, %ebp
        call *processor_programs(,%rbx,8)
1:      cli
        hlt
        jmp 1b
)");

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

/// A processor's own APIC in xAPIC or x2APIC mode.
namespace either_apic {
inline bool volatile is_x2apic[most_processors]; ///< as the payload says when it changes a mode

inline void write(u64 offset, u32 value) {
    if (is_x2apic[own_number()])
        wrmsr(static_cast<u32>(0x800 + offset / 16), value);
    else
        lapic::write(offset, value);
}
inline void send(u32 low, u32 destination = 0) {
    if (is_x2apic[own_number()])
        wrmsr(0x830, u64{destination} << 32 | low);
    else
        lapic::send(low, destination);
}
} // namespace either_apic

/// Interrupts that QEMU delivered a second time: behind an entry with an injected interrupt it may take that again
/// where it hands over to another processor, and then the interrupted code has interrupts off, as it has on no
/// processor.
inline shared_count doubled;
/// Those that Bochs delivered to code with interrupts off: there an interrupt of the host lets in a virtual interrupt
/// that waits. Each of them comes once.
inline shared_count early;

/// Under VMX, Bochs is the emulator.
inline auto is_under_vmx() -> bool {
    constexpr u32 genu{0x756e6547}; // of "GenuineIntel"
    return cpuid(0).ebx == genu;
}

/// A handler of interrupts that counts: those of QEMU's own making are left out. They are up to one in two hundred
/// where processors exit often; a hypervisor that injects where interrupts are off does so far more often.
template <void (*Function)(frame&)>
void once(frame& f) {
    constexpr u64 interrupts_on{1u << 9};
    if ((f.rflags & interrupts_on) == 0) {
        bool const counts{is_under_vmx()};
        if ((counts ? early : doubled).add() > 20 + count_of(static_cast<unsigned>(f.vector)) / 50)
            fail("interrupts come where they are off");
        if (not counts)
            return;
    }
    Function(f);
}

extern "C" {
extern payload::u8 nmi_sleep_begin[], nmi_sleep_end[];
/// Halts with interrupts off, unless `*count` is not `seen` any more: then an NMI came before, and nothing else would
/// end HLT.
void nmi_sleep(shared_count const* count, u32 seen);
}
asm(R"(
        .text
        .global nmi_sleep, nmi_sleep_begin, nmi_sleep_end
nmi_sleep:
        cli
nmi_sleep_begin:
        cmp %esi, (%rdi)
        jne nmi_sleep_end
        hlt
nmi_sleep_end:
        ret
)");
/// For the handler that counts NMIs: one between the look at the count and HLT ends the sleep.
inline void end_nmi_sleep(frame& f) {
    if (f.rip >= reinterpret_cast<u64>(nmi_sleep_begin) and f.rip < reinterpret_cast<u64>(nmi_sleep_end))
        f.rip = reinterpret_cast<u64>(nmi_sleep_end);
}

/// Puts the start-up code into its page.
inline void place_start_up_code() {
    auto* const to = reinterpret_cast<u8 volatile*>(u64{start_up_page} << 12);
    for (u64 i{}; i != static_cast<u64>(processor_start_end - processor_start); ++i)
        to[i] = processor_start[i];
    for (unsigned i{}; i != 10; ++i)
        to[processor_descriptors - processor_start + i] = descriptors_pointer[i];
}

/// Starts the processor with that APIC id in `program`, with interrupts off and its local APIC enabled by itself.
inline void start_processor(u32 apic_id, void (*program)()) {
    place_start_up_code();
    processor_programs[apic_id] = program;
    lapic::send(ipi::init, apic_id);
    pass(1);
    lapic::send(ipi::start_up | start_up_page, apic_id);
}

/// Starts all others in `program`, and has each of them say that it is there by `here`. False, and a failure, unless
/// all do.
inline auto start_all(void (*program)(), shared_count const& here) -> bool {
    for (u32 id{1}; id != processor_count(); ++id) {
        start_processor(id, program);
        if (not here.reaches(id)) {
            fail("a processor does not start");
            return false;
        }
    }
    return true;
}

} // namespace payload
