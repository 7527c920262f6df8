// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "payload.hpp"

/// What payloads with 32-bit tasks share: descriptor tables, TSSs, and the way out of 64-bit mode and back. The payload
/// defines `tasks_main` in 32-bit assembly; it runs as the first task, with interrupts off.
namespace tasks {

using payload::u16;
using payload::u32;
using payload::u64;
using payload::u8;

namespace sel {
constexpr u16 code{0x08}, data{0x10}, main{0x20};
}

/// Words of a 32-bit TSS.
namespace word {
constexpr unsigned cr3{7}, eip{8}, eflags{9}, eax{10}, esp{14}, es{18}, cs{19}, ss{20}, fs{22}, gs{23}, ldt{24},
    io_map{25};
}

constexpr u32 nt{0x4000};

} // namespace tasks

extern "C" {
payload::u64 task_gdt[19];
payload::u64 task_idt[0x41];
alignas(128) payload::u32 task_states[9][32]; ///< number 0 is the first task's
alignas(16) payload::u32 task_stacks[9][64];
alignas(4096) payload::u64 task_pages[512];
alignas(32) payload::u64 task_directories[2][4]; ///< CR3 of the first task, and of the others
payload::u32 volatile task_seen[64];             ///< what the tasks note
payload::u32 task_paging;
void run_tasks();
}

asm(R"(
        .set seen, task_seen
        .set gdt_access, task_gdt + 5
        .macro see slot, register
        mov %\register, seen + 4 * \slot
        .endm
        .macro see_flags slot
        pushf
        popl seen + 4 * \slot
        .endm
        .macro see_byte slot, where:vararg
        movzbl \where, %eax
        mov %eax, seen + 4 * \slot
        .endm
        .macro see_word slot, where:vararg
        movl \where, %eax
        mov %eax, seen + 4 * \slot
        .endm

        .text
        .global run_tasks
run_tasks:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, task_old_stack
        sgdt task_old_gdt
        sidt task_old_idt
        mov %cr3, %rax
        mov %eax, task_old_cr3
        movl $1f, task_far
        movw $0x18, task_far + 4
        ljmp *task_far
        .code32
1:      mov %cr0, %eax
        and $0x7fffffff, %eax
        mov %eax, %cr0
        mov $0xc0000080, %ecx
        rdmsr
        and $~0x100, %eax # LME
        wrmsr
        lgdt task_gdt_pointer
        lidt task_idt_pointer
        ljmp $0x08, $2f
2:      mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov $task_stacks + 256, %esp
        cmpl $0, task_paging
        je 3f
        mov $task_directories, %eax
        mov %eax, %cr3
        mov %cr0, %eax
        or $0x80000000, %eax
        mov %eax, %cr0
3:      xor %eax, %eax
        lldt %ax
        mov $0x20, %eax
        ltr %ax
        clts
        call tasks_main
        mov $0x400, %eax
        mov %eax, %dr7
        mov %cr0, %eax
        and $0x7fffffff, %eax
        mov %eax, %cr0
        mov $0xc0000080, %ecx
        rdmsr
        or $0x100, %eax
        wrmsr
        mov task_old_cr3, %eax
        mov %eax, %cr3
        mov %cr0, %eax
        or $0x80000000, %eax
        mov %eax, %cr0
        lgdt task_old_gdt
        ljmp $0x08, $4f
        .code64
4:      lgdt task_old_gdt
        lidt task_old_idt
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov task_old_stack, %rsp
        clts
        andb $~2, descriptors + 0x30 + 5
        mov $0x30, %eax
        ltr %ax
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret

        .data
        .balign 8
task_gdt_pointer:
        .word 19 * 8 - 1
        .quad task_gdt
        .balign 8
task_idt_pointer:
        .word 0x41 * 8 - 1
        .quad task_idt
        .bss
        .balign 8
task_old_stack: .skip 8
task_old_gdt: .skip 16
task_old_idt: .skip 16
task_far: .skip 8
task_old_cr3: .skip 4
        .text
)");

namespace tasks {

inline auto address(void const* p) -> u32 {
    return static_cast<u32>(reinterpret_cast<u64>(p));
}
inline void set_tss(u16 selector, void const* state, u32 limit, u64 access) {
    u64 const base{address(state)};
    task_gdt[selector >> 3] = limit | (base & 0xffffff) << 16 | access << 40 | (base >> 24) << 56;
}
inline void set_task(unsigned number, u16 selector, void const* entry) {
    auto& state = task_states[number];
    for (auto& w : state)
        w = 0;
    state[word::cr3] = address(task_directories[1]);
    state[word::eip] = address(entry);
    state[word::eflags] = 2;
    state[word::eax] = 0xa0a0a0a0 + number;
    state[word::esp] = address(task_stacks[number + 1]);
    for (unsigned at{word::es}; at <= word::gs; ++at)
        state[at] = sel::data;
    state[word::cs] = sel::code;
    state[word::io_map] = 0x68 << 16;
    set_tss(selector, state, 0x67, 0x89);
}
inline void set_gate(unsigned vector, u16 selector) {
    task_idt[vector] = u64{selector} << 16 | u64{0x85} << 40;
}

/// Empty tables, the first task, and 1 GiB mapped one to one.
inline void prepare() {
    for (auto& e : task_idt)
        e = 0;
    task_gdt[sel::code >> 3] = 0x00cf9b000000ffff;
    task_gdt[sel::data >> 3] = 0x00cf93000000ffff;
    set_task(0, sel::main, nullptr);
    task_states[0][word::cr3] = address(task_directories[0]);
    for (u64 i{}; i < 512; ++i)
        task_pages[i] = i << 21 | 0x87; // user, writable, 2 MiB
    for (auto& directory : task_directories)
        directory[0] = reinterpret_cast<u64>(task_pages) | 1;
    for (auto& s : task_seen)
        s = 0;
}

inline void expect_seen(unsigned slot, u64 wanted, char const* what) {
    payload::expect_equal(task_seen[slot], wanted, what);
}
inline void expect_seen_bits(unsigned slot, u32 mask, u32 wanted, char const* what) {
    payload::expect_equal(task_seen[slot] & mask, wanted, what);
}

} // namespace tasks
