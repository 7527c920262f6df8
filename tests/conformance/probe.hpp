// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "processors.hpp"

/// What a processor finds of itself when it starts.
namespace payload {

extern "C" {
extern payload::u8 probe_start[], probe_found[], probe_nmi[], probe_end[];
}

// Copied to any page below 1 MiB: notes the registers as they were, then goes the way of all processors from 0x8000.
asm(R"(
        .text
        .global probe_start, probe_found, probe_nmi, probe_end
        .code16
        .set found, probe_found - probe_start
probe_start:
        mov %eax, %cs:found
        mov %ebx, %cs:found + 4
        mov %ecx, %cs:found + 8
        mov %edx, %cs:found + 12
        mov %esi, %cs:found + 16
        mov %edi, %cs:found + 20
        mov %ebp, %cs:found + 24
        mov %esp, %cs:found + 28
        mov %cr0, %eax
        mov %eax, %cs:found + 32
        mov %cr2, %eax
        mov %eax, %cs:found + 36
        mov %cr3, %eax
        mov %eax, %cs:found + 40
        mov %cr4, %eax
        mov %eax, %cs:found + 44
        mov %cs, %ax
        mov %ax, %cs:found + 48
        mov %ds, %ax
        mov %ax, %cs:found + 50
        mov %es, %ax
        mov %ax, %cs:found + 52
        mov %ss, %ax
        mov %ax, %cs:found + 54
        mov %fs, %ax
        mov %ax, %cs:found + 56
        mov %gs, %ax
        mov %ax, %cs:found + 58
        pushfl
        popl %eax
        mov %eax, %cs:found + 60
        mov $0xc0000080, %ecx
        rdmsr
        mov %eax, %cs:found + 64
        lock incl %cs:found + 68
        ljmp $0x800, $0
probe_nmi:
        lock incl %cs:found + 72
        iret
        .balign 8
probe_found: .skip 80
probe_end:
        .code64
)");

/// The registers right behind a start, and how often it was there.
struct probe_registers {
    u32 eax, ebx, ecx, edx, esi, edi, ebp, esp, cr0, cr2, cr3, cr4;
    u16 cs, ds, es, ss, fs, gs;
    u32 eflags, efer;
    u32 entered, nmis;
};
static_assert(sizeof(probe_registers) == 76);

inline auto probe_at(u8 page) -> probe_registers volatile& {
    return *reinterpret_cast<probe_registers volatile*>((u64{page} << 12) +
                                                        static_cast<u64>(probe_found - probe_start));
}
/// Puts the probe there. An NMI in real mode is counted by the last one that was placed.
inline void place_probe(u8 page) {
    auto* const to = reinterpret_cast<u8 volatile*>(u64{page} << 12);
    for (u64 i{}; i != static_cast<u64>(probe_end - probe_start); ++i)
        to[i] = probe_start[i];
    u64 ivt{}; // its gate of NMI lies at 8
    asm("mov $8, %0" : "=r"(ivt));
    *reinterpret_cast<u32 volatile*>(ivt) = u32{page} << 24 | static_cast<u32>(probe_nmi - probe_start);
}

/// SDM Vol. 3A, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT".
inline void expect_after_init(probe_registers volatile& found, u8 page, bool first) {
    expect_equal(found.eax | found.ebx | found.ecx | found.esi | found.edi | found.ebp | found.esp, 0,
                 "general registers at a start");
    expect(found.edx == 0x600 or found.edx == cpuid(1).eax, "EDX at a start");
    expect_equal(found.cr0, first ? 0x60000010 : 0x10, "CR0 at a start: INIT keeps CD and NW");
    expect_equal(found.cr2 | found.cr3 | found.cr4, 0, "CR2, CR3 and CR4 at a start");
    expect_equal(found.efer, 0, "EFER at a start");
    expect_equal(found.eflags, 2, "EFLAGS at a start");
    expect_equal(found.cs, u64{page} << 8, "CS at a start");
    expect_equal(u32{found.ds} | found.es | found.ss | found.fs | found.gs, 0, "data segments at a start");
}

/// The registers of a local APIC.
struct apic_state {
    static constexpr u64 extended{1u << 10}, enabled{1u << 11}, bootstrap{1u << 8};

    u64 base;
    u32 id, tpr, ppr, ldr, dfr, svr, vectors, lvt_timer, lvt_lint0, lvt_lint1, lvt_error, initial_count, divide;
};

/// Its registers by the way of its mode, `vectors` all of ISR, TMR and IRR.
inline auto state_of_apic() -> apic_state {
    auto const base = rdmsr(lapic::base_msr);
    bool const by_msr{(base & apic_state::extended) != 0};
    auto const read = [=](u64 offset) {
        return by_msr ? static_cast<u32>(rdmsr(static_cast<u32>(0x800 + offset / 16))) : lapic::read(offset);
    };
    constexpr u64 sets[]{lapic::isr, lapic::tmr, lapic::irr};
    u32 vectors{};
    for (auto const set : sets)
        for (u64 word{}; word != 8; ++word)
            vectors |= read(set + word * 16);
    return {.base = base,
            .id = by_msr ? read(lapic::id) : read(lapic::id) >> 24,
            .tpr = read(lapic::tpr),
            .ppr = read(lapic::ppr),
            .ldr = by_msr ? 0 : read(lapic::ldr),
            .dfr = by_msr ? ~0u : read(lapic::dfr),
            .svr = read(lapic::svr),
            .vectors = vectors,
            .lvt_timer = read(lapic::lvt_timer),
            .lvt_lint0 = read(lapic::lvt_lint0),
            .lvt_lint1 = read(lapic::lvt_lint1),
            .lvt_error = read(lapic::lvt_error),
            .initial_count = read(lapic::initial_count),
            .divide = read(lapic::divide)};
}

/// SDM Vol. 3A, "Local APIC State After an INIT Reset": as after power-on, but for the id, and the mode stays.
inline void expect_after_init(apic_state const& found, u32 id, bool x2apic) {
    expect_equal(found.base, lapic::base | apic_state::enabled | (x2apic ? apic_state::extended : 0),
                 "IA32_APIC_BASE behind INIT");
    expect_equal(found.id, id, "the APIC id behind INIT");
    expect_equal(found.tpr | found.ppr, 0, "priorities behind INIT");
    expect_equal(found.ldr, 0, "LDR behind INIT");
    expect_equal(found.dfr, ~0u, "DFR behind INIT");
    expect_equal(found.svr, 0xff, "SVR behind INIT");
    expect_equal(found.vectors, 0, "ISR, TMR and IRR behind INIT");
    u32 const entries[]{found.lvt_timer, found.lvt_lint0, found.lvt_lint1, found.lvt_error};
    for (auto const entry : entries)
        expect_equal(entry, lapic::masked, "an entry of the LVT behind INIT");
    expect_equal(found.initial_count | found.divide, 0, "the timer behind INIT");
}

} // namespace payload
