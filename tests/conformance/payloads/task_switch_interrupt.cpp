// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: INT and the timer's interrupts come to tasks by task gates, and go back where they came from.
// also on: pc_vmx_apicv
#include "tasks.hpp"

using namespace payload;

namespace {

constexpr u16 timer_task{0x28}, int_task{0x30};

} // namespace

extern "C" {
extern u8 task_timer[1], task_int[1], task_int_end[1];
}

asm(R"(
        .text
        .code32
        .global tasks_main
tasks_main:
        int $0x40
        .byte 0xcd, 0x40
        mov $0x34, %al # PIT counter 0, mode 2, 5 ms
        out %al, $0x43
        mov $0x4f, %al
        out %al, $0x40
        mov $0x17, %al
        out %al, $0x40
        mov $0xfe, %al
        out %al, $0x21
        sti
1:      hlt
        cmpl $5, seen + 4 * 8
        jb 1b
2:      cmpl $10, seen + 4 * 8 # and while something computes
        jb 2b
        cli
        mov $0xff, %al
        out %al, $0x21
        see_flags 0
        str %eax
        see 1, eax
        see_byte 2, gdt_access + 0x28
        see_byte 3, gdt_access + 0x20
        ret

        .global task_timer
task_timer:
        incl seen + 4 * 8
        see_flags 9
        see_word 10, task_states + 128
        mov $0x20, %al
        out %al, $0x20
        iret
        jmp task_timer

        .global task_int, task_int_end
task_int:
        incl seen + 4 * 11
        see_word 12, task_states + 2 * 128
        see 13, esp
        iret
task_int_end:
        jmp task_int
        .code64
        .text
)");

void payload::run() {
    using tasks::expect_seen;
    for (task_paging = 0; task_paging < 2; ++task_paging) {
        tasks::prepare();
        tasks::set_task(1, timer_task, task_timer);
        tasks::set_task(2, int_task, task_int);
        tasks::set_gate(0x20, timer_task);
        tasks::set_gate(0x40, int_task);
        out8(0x20, 0x11); // the 8259: vectors from 20h, all lines masked
        out8(0x21, 0x20);
        out8(0x21, 4);
        out8(0x21, 1);
        out8(0x21, 0xff);
        run_tasks();
        expect_seen(11, 2, "INT came to its task");
        expect_seen(12, tasks::sel::main, "the link of INT's task");
        expect_seen(13, tasks::address(task_stacks[3]), "no error code on its stack");
        expect_between(task_seen[8], 10, 12, "the timer came to its task");
        tasks::expect_seen_bits(9, tasks::nt | 0x200, tasks::nt, "EFLAGS of the timer's task");
        expect_seen(10, tasks::sel::main, "the link of the timer's task");
        tasks::expect_seen_bits(0, tasks::nt, 0, "NT at the end");
        expect_seen(1, tasks::sel::main, "TR at the end");
        expect_seen(2, 0x89, "the timer's task is available");
        expect_seen(3, 0x8b, "the main task is busy");
    }
}
