// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "payload.hpp"

/// 32-bit protected mode under no 64-bit kernel. A payload writes its part in assembly, as a function of flat 32-bit
/// code that starts without paging; it makes notes, which the payload judges when it is back.
///
/// `attempt "instructions"` runs them and notes the exception that ended them, 256 if none did, with EAX as they left
/// it; it counts its stack pointer back. A vector with an address in `legacy_handlers` goes there instead, and back by
/// IRET when that returns.
namespace payload::legacy {

/// One line of the notes.
struct note {
    u32 vector, error_code, eip, cs, eflags, cr2, eax, esp;
};

inline constexpr u16 code{0x18}, task{0x30}, other_task{0x38}, narrow_code{0x40}, narrow_data{0x48}, task_gate{0x50},
    spare{0x58};

/// A segment descriptor. `flags` are bits 55:52, `access` bits 47:40.
constexpr auto descriptor(u32 base, u32 limit, u8 access, u8 flags) -> u64 {
    return (limit & 0xffff) | u64{base & 0xffffff} << 16 | u64{access} << 40 | u64{limit >> 16 & 0xf} << 48 |
           u64{flags} << 52 | u64{base >> 24} << 56;
}

/// The 32-bit task state segment. SDM Vol. 3A, "Task-State Segment (TSS)".
struct task_segment {
    u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds,
        fs, gs, ldt, trap_and_map;
};
static_assert(sizeof(task_segment) == 104);

} // namespace payload::legacy

extern "C" {
extern payload::u64 legacy_descriptors[12];
extern payload::u64 legacy_gates[96];
extern payload::u32 legacy_handlers[96];
extern payload::u32 volatile legacy_counts[96];
extern payload::legacy::note legacy_notes[128];
extern payload::u32 legacy_noted;
extern payload::legacy::task_segment legacy_task;
extern payload::u8 legacy_stubs[96 * 16], legacy_stack_end[], legacy_entry_stack_end[];
void legacy_call(void (*function)());
}

asm(R"asm(
        .macro attempt what
        movl $.Lattempted\@, legacy_resume
        movl %esp, legacy_resume_esp
        movl $256, legacy_seen
        \what
.Lattempted\@:
        call legacy_note
        .endm

        .text
        .code64
        .global legacy_call
legacy_call:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        pushfq
        cli
        mov %rsp, legacy_rsp
        mov %rdi, %rbx
        mov %cr4, %rax
        mov %eax, legacy_cr4
        mov %cr0, %rax
        mov %eax, legacy_cr0
        sgdt legacy_old_descriptors
        sidt legacy_old_gates
        lgdt legacy_descriptors_pointer
        lidt legacy_gates_pointer
        ljmp *legacy_way_out
        .code32
1:      mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov $legacy_stack_end, %esp
        mov %cr0, %eax
        and $0x7fffffff, %eax
        mov %eax, %cr0
        jmp 2f
2:      mov $0xc0000080, %ecx
        rdmsr
        and $~0x100, %eax
        wrmsr
        xor %eax, %eax
        mov %eax, %cr4
        mov $0x30, %eax
        ltr %ax
        call *%ebx
        cli
        mov %cr0, %eax
        and $0x7fffffff, %eax
        mov %eax, %cr0
        jmp 3f
3:      mov legacy_cr4, %eax
        mov %eax, %cr4
        mov $level4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx
        rdmsr
        or $0x100, %eax
        wrmsr
        mov legacy_cr0, %eax
        mov %eax, %cr0
        ljmp $0x08, $4f
        .code64
4:      lgdt legacy_old_descriptors
        lidt legacy_old_gates
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        andb $~2, descriptors + 0x35
        mov $0x30, %eax
        ltr %ax
        mov legacy_rsp, %rsp
        popfq
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret

        .code32
        .balign 16
        .global legacy_stubs
legacy_stubs:
        .set vector, 0
        .rept 96
        .balign 16
        .if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17
        push $0
        .endif
        push $vector
        jmp legacy_common
        .set vector, vector + 1
        .endr

legacy_common:
        pushal
        push %ds
        push %es
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        cld
        mov 40(%esp), %eax
        mov %eax, legacy_seen
        incl legacy_counts(,%eax,4)
        mov 44(%esp), %ecx
        mov %ecx, legacy_seen + 4
        mov 48(%esp), %ecx
        mov %ecx, legacy_seen + 8
        mov 52(%esp), %ecx
        mov %ecx, legacy_seen + 12
        mov 56(%esp), %ecx
        mov %ecx, legacy_seen + 16
        mov %cr2, %ecx
        mov %ecx, legacy_seen + 20
        mov legacy_handlers(,%eax,4), %ecx
        test %ecx, %ecx
        jz 5f
        call *%ecx
        pop %es
        pop %ds
        popal
        add $8, %esp
        iretl
5:      add $8, %esp
        popal
        push $0x10
        pop %ds
        push $0x10
        pop %es
        mov legacy_resume_esp, %esp
        jmp *legacy_resume

        .global legacy_note
legacy_note:
        pushal
        mov legacy_noted, %edi
        incl legacy_noted
        and $127, %edi
        shl $5, %edi
        add $legacy_notes, %edi
        mov $legacy_seen, %esi
        mov $6, %ecx
        rep movsl
        mov 28(%esp), %eax
        mov %eax, (%edi)
        mov 12(%esp), %eax
        add $4, %eax
        mov %eax, 4(%edi)
        popal
        ret
        .code64

        .data
        .balign 8
        .global legacy_descriptors, legacy_task
legacy_descriptors:
        .quad 0
        .quad 0x00af9b000000ffff # 0x08 64-bit code
        .quad 0x00cf93000000ffff # 0x10 data
        .quad 0x00cf9b000000ffff # 0x18 32-bit code
        .quad 0x00cff3000000ffff # 0x20 user data
        .quad 0x00cffb000000ffff # 0x28 user code
        .quad 0, 0               # 0x30 task, 0x38 another
        .quad 0x00009b000000ffff # 0x40 16-bit code
        .quad 0x000093000000ffff # 0x48 16-bit data
        .quad 0, 0
legacy_descriptors_pointer:
        .word . - legacy_descriptors - 1
        .quad legacy_descriptors
legacy_gates_pointer:
        .word 96 * 8 - 1
        .quad legacy_gates
        .balign 8
legacy_way_out:
        .long 1b
        .word 0x18
        .balign 8
legacy_task:
        .long 0, legacy_entry_stack_end, 0x10
        .fill 22, 4, 0
        .word 0, 104
        .bss
        .balign 16
        .global legacy_gates, legacy_handlers, legacy_counts, legacy_notes, legacy_noted, legacy_seen
        .global legacy_stack_end, legacy_entry_stack_end
legacy_gates: .skip 96 * 8
legacy_handlers: .skip 96 * 4
legacy_counts: .skip 96 * 4
legacy_notes: .skip 128 * 32
legacy_seen: .skip 32
legacy_rsp: .skip 8
legacy_resume: .skip 4
legacy_resume_esp: .skip 4
legacy_noted: .skip 4
legacy_cr0: .skip 4
legacy_cr4: .skip 4
        .balign 16
legacy_old_descriptors: .skip 16
legacy_old_gates: .skip 16
        .skip 8192
legacy_stack_end:
        .skip 8192
legacy_entry_stack_end:
        .text
)asm");

namespace payload::legacy {

/// Where a gate of the 32-bit table goes.
inline auto gate_to(u32 address, u8 access = 0x8e) -> u64 {
    return (address & 0xffff) | u64{code} << 16 | u64{access} << 40 | u64{address >> 16} << 48;
}
template <typename T>
auto address_of(T& object) -> u32 {
    return static_cast<u32>(reinterpret_cast<u64>(&object));
}

/// Runs a 32-bit function, with fresh gates and notes.
inline void run(void (*function)()) {
    for (unsigned v{}; v != 96; ++v)
        legacy_gates[v] = gate_to(address_of(legacy_stubs[16 * v]), v < 32 ? 0x8e : 0xee);
    legacy_descriptors[task / 8] = descriptor(address_of(legacy_task), sizeof legacy_task - 1, 0x89, 0);
    legacy_noted = 0;
    legacy_call(function);
}

inline unsigned judged; ///< notes that were judged

/// The next note, in the order of the attempts.
inline auto next() -> note const& {
    return legacy_notes[judged++ % 128];
}
/// Expects no exception and EAX.
inline void expect_value(u32 value, char const* what) {
    auto const& n = next();
    expect_equal(n.vector, none, what);
    expect_equal(n.eax, value, what);
}
/// Expects an exception.
inline auto expect_fault(unsigned vector, u32 error_code, char const* what) -> note const& {
    auto const& n = next();
    expect_equal(n.vector, vector, what);
    expect_equal(n.error_code, error_code, what);
    return n;
}
/// Expects that all notes were judged.
inline void expect_all_judged() {
    expect_equal(legacy_noted, judged, "attempts");
}

} // namespace payload::legacy
