// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: 32-bit tasks call, jump, return and fault into each other by TSSs and task gates, paged and not.
#include "tasks.hpp"

using namespace payload;

namespace {

namespace sel {
using namespace tasks::sel;
constexpr u16 called{0x28}, jumped{0x30}, gate{0x38}, broken{0x40}, protection{0x48}, invalid{0x50}, absent{0x58},
    narrow{0x60}, code16{0x68}, ldt{0x70}, user_code{0x7b}, user_data{0x83}, user{0x88}, stack16{0x90};
} // namespace sel

constexpr u32 task_switched{8};
constexpr u32 bad_selector{0xfff8};

} // namespace

extern "C" {
extern u8 task_called[1], task_jumped[1], task_broken[1], task_protection[1], task_invalid[1], task_narrow[1],
    task_user[1], task_absent[1], task_called_end[1], task_main_called[1], task_main_fault[1], task_user_fault[1],
    task_narrow_end[1];
}

asm(R"(
        .set state_main, task_states
        .set state_called, task_states + 128
        .set state_jumped, task_states + 2 * 128
        .set state_broken, task_states + 3 * 128
        .set state_protection, task_states + 4 * 128
        .set state_invalid, task_states + 5 * 128
        .set state_user, task_states + 6 * 128
        .set state_narrow, task_states + 7 * 128
        .text
        .code32
        .global tasks_main
tasks_main:
        mov $0xfff00000, %eax
        mov %eax, %dr0
        mov $0x401, %eax # L0
        mov %eax, %dr7

        # CALL and IRET.
        mov $0x600d, %ebx
        lcall $0x28, $0
        .global task_main_called
task_main_called:
        see 14, ebx
        see_flags 15
        see_byte 16, gdt_access + 0x28
        see_byte 17, gdt_access + 0x20
        see_word 18, state_called + 0x20
        see_word 19, state_called + 0x24
        mov %cr0, %eax
        see 20, eax
        str %eax
        see 21, eax
        mov %cr3, %eax
        see 22, eax
        sldt %eax
        see 23, eax
        see_word 24, state_main + 0x20
        see_word 25, state_main + 0x34
        mov %dr7, %eax
        see 26, eax
        # Through a gate.
        lcall $0x38, $0
        see_word 27, seen + 4 * 13
        # JMP there and back.
        ljmp $0x30, $0
        see_byte 28, gdt_access + 0x30
        see_byte 32, gdt_access + 0x20
        # A TSS that is not present: a fault of this task.
        lcall $0x58, $0
        # A fault through a task gate.
        mov $0xfff8, %eax
        .global task_main_fault
task_main_fault:
        mov %eax, %ds
        # A TSS whose stack segment is none: a fault of the new task.
        lcall $0x40, $0
        # A 16-bit task.
        lcall $0x60, $0
        see_byte 46, gdt_access + 0x60
        see_word 47, state_narrow + 0x0e
        # A user's task.
        lcall $0x88, $0
        see_byte 52, gdt_access + 0x88
        str %eax
        see 53, eax
        ret

        .global task_called, task_called_end
task_called:
        see 0, eax
        see_flags 1
        str %eax
        see 2, eax
        mov %cr0, %eax
        see 3, eax
        sldt %eax
        see 4, eax
        mov %cr3, %eax
        see 5, eax
        mov %ds, %eax
        see 6, eax
        mov %fs, %eax
        see 7, eax
        see 8, esp
        see_word 9, state_called
        mov %dr7, %eax
        see 10, eax
        see_byte 11, gdt_access + 0x20
        see_byte 12, gdt_access + 0x28
1:      incl seen + 4 * 13
        iret
task_called_end:
        jmp 1b

        .global task_jumped
task_jumped:
        see_flags 29
        see_byte 30, gdt_access + 0x20
        see_word 31, state_jumped
        ljmp $0x20, $0

        .global task_absent
task_absent:
        popl seen + 4 * 33
        addl $7, (%esp)
        iret

        # #GP: of the main task's MOV to DS, or of the user's OUT.
        .global task_protection
task_protection:
        mov state_protection, %ebx
        cmp $0x20, %ebx
        jne 2f
        popl seen + 4 * 34
        see_word 35, state_main + 0x20
        addl $2, state_main + 0x20
        jmp 3f
2:      popl seen + 4 * 50
        see_word 51, state_user + 0x20
        addl $2, state_user + 0x20
3:      iret
        jmp task_protection

        # #TS in the broken task: the way back leads past it. QEMU loses that task's EIP.
        .global task_invalid
task_invalid:
        popl seen + 4 * 38
        see_word 39, state_invalid
        see_byte 40, gdt_access + 0x40
        see_word 42, state_broken + 0x50
        movl $0x20, state_invalid
        andb $~2, gdt_access + 0x40
        iret
        jmp task_invalid

        .global task_user, task_user_fault
task_user:
        mov %cs, %eax
        see 48, eax
        out %al, $0x80
        incl seen + 4 * 49
task_user_fault:
        out %al, $0x81
        iret

        .code16
        .global task_narrow, task_narrow_end
task_narrow:
        mov $task_seen, %ebx
        mov %eax, 4 * 43(%ebx)
        mov %esp, 4 * 44(%ebx)
        pushf
        pop %ax
        mov %ax, 4 * 45(%ebx)
        iret
task_narrow_end:
        .code64

        .global task_broken
task_broken:
        hlt
        .text
)");

namespace {

using tasks::address;
using tasks::nt;
using tasks::set_gate;
using tasks::set_task;
using tasks::set_tss;
namespace word = tasks::word;

void prepare() {
    tasks::prepare();
    task_gdt[sel::user_code >> 3] = 0x00cffb000000ffff;
    task_gdt[sel::user_data >> 3] = 0x00cff3000000ffff;
    task_gdt[sel::ldt >> 3] = u64{0x82} << 40 | u64{address(task_gdt)} << 16 | 7;
    task_gdt[sel::gate >> 3] = u64{sel::called} << 16 | u64{0x85} << 40;
    set_tss(sel::code16, task_narrow, 0xffff, 0x9b);
    set_tss(sel::stack16, task_stacks[7], 0xff, 0x93);
    set_task(1, sel::called, task_called);
    task_states[1][word::ldt] = sel::ldt;
    task_states[1][word::fs] = 0;
    set_task(2, sel::jumped, task_jumped);
    set_task(3, sel::broken, task_broken);
    task_states[3][word::ss] = sel::code;
    set_task(4, sel::protection, task_protection);
    set_task(5, sel::invalid, task_invalid);
    set_task(6, sel::user, task_user);
    auto& user = task_states[6];
    for (unsigned at{word::es}; at <= word::gs; ++at)
        user[at] = sel::user_data;
    user[word::cs] = sel::user_code;
    for (unsigned i{26}; i < 32; ++i)
        user[i] = 0xffffffff;
    reinterpret_cast<u8*>(user)[0x68 + 0x80 / 8] = 0xfe; // port 80h alone
    set_tss(sel::user, user, 0x68 + 0x80 / 8 + 1, 0x89);
    set_tss(sel::absent, task_states[8], 0x67, 0x09);
    auto* const narrow = reinterpret_cast<u16*>(task_states[7]);
    for (unsigned i{}; i < 22; ++i)
        narrow[i] = 0;
    narrow[0x10 / 2] = 2;
    narrow[0x12 / 2] = 0x1616;
    narrow[0x1a / 2] = 0x100;
    narrow[0x22 / 2] = narrow[0x28 / 2] = sel::data;
    narrow[0x24 / 2] = sel::code16;
    narrow[0x26 / 2] = sel::stack16;
    set_tss(sel::narrow, narrow, 0x2b, 0x81);
    auto const handler = u64{address(task_absent)};
    task_idt[11] = (handler & 0xffff) | u64{sel::code} << 16 | u64{0x8e} << 40 | handler >> 16 << 48;
    set_gate(10, sel::invalid);
    set_gate(13, sel::protection);
}

void judge() {
    constexpr auto saw = tasks::expect_seen;
    constexpr auto has = tasks::expect_seen_bits;
    saw(0, 0xa0a0a0a1, "EAX of the called task");
    saw(1, nt | 2, "EFLAGS of the called task");
    saw(2, sel::called, "TR of the called task");
    has(3, task_switched, task_switched, "CR0.TS in the called task");
    saw(4, sel::ldt, "LDTR of the called task");
    saw(5, task_paging != 0 ? address(task_directories[1]) : task_seen[22], "CR3 of the called task");
    saw(6, sel::data, "DS of the called task");
    saw(7, 0, "FS of the called task");
    saw(8, address(task_stacks[2]), "ESP of the called task");
    saw(9, sel::main, "the link of the called task");
    has(10, 0x755, 0x400, "DR7 of the called task");
    saw(11, 0x8b, "the caller is busy");
    saw(12, 0x8b, "the called task is busy");
    saw(14, 0x600d, "EBX after the return");
    has(15, nt, 0, "NT after the return");
    saw(16, 0x89, "the called task is available after its return");
    saw(17, 0x8b, "the caller is busy after the return");
    saw(18, address(task_called_end), "EIP of the task that returned");
    saw(19, 2, "NT of the task that returned");
    has(20, task_switched, task_switched, "CR0.TS after the return");
    saw(21, sel::main, "TR after the return");
    if (task_paging != 0)
        saw(22, address(task_directories[0]), "CR3 after the return");
    saw(23, 0, "LDTR after the return");
    saw(24, address(task_main_called), "EIP saved at the CALL");
    saw(25, 0x600d, "EBX saved at the CALL");
    has(26, 0x755, 0x400, "DR7 after the return");
    saw(27, 2, "calls: directly and through a gate");
    saw(28, 0x89, "the task that was jumped to is available after it left");
    has(29, nt, 0, "NT after JMP");
    saw(30, 0x89, "the task that jumped is available");
    saw(31, 0, "the link after JMP");
    saw(32, 0x8b, "the main task is busy again");
    saw(33, sel::absent, "error code of #NP");
    saw(34, bad_selector, "error code of #GP on the new task's stack");
    saw(35, address(task_main_fault), "EIP saved at the fault");
    saw(38, sel::code, "error code of #TS");
    saw(39, sel::broken, "the link from #TS");
    saw(40, 0x8b, "the broken task is busy");
    saw(42, sel::code, "SS of the broken task");
    has(43, 0xffff, 0x1616, "AX of the 16-bit task");
    has(44, 0xffff, 0x100, "SP of the 16-bit task");
    has(45, 0xffff, nt | 2, "FLAGS of the 16-bit task");
    saw(46, 0x81, "the 16-bit task is available after its return");
    has(47, 0xffff, address(task_narrow_end) - address(task_narrow), "IP of the 16-bit task");
    saw(48, sel::user_code, "CS of the user's task");
    saw(49, 1, "the port that the user's map allows");
    saw(50, 0, "error code of the port that it does not");
    saw(51, address(task_user_fault), "EIP of the user's fault");
    saw(52, 0x89, "the user's task is available after its return");
    saw(53, sel::main, "TR at the end");
}

} // namespace

void payload::run() {
    for (task_paging = 0; task_paging < 2; ++task_paging) {
        prepare();
        run_tasks();
        judge();
    }
}
