// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: in 32-bit code LGDT and LIDT take 24 or 32 bits of base, and LLDT and LTR descriptors of eight bytes.
#include "legacy.hpp"

using namespace payload;

extern "C" {
void tables_run();
extern u64 tables_old_gdt;
extern u32 tables_seen[8];
}

asm(R"asm(
        .text
        .code32
        .global tables_run
tables_run:
        sgdtl tables_old_gdt
        attempt "sgdtl tables_buffer; mov tables_buffer + 2, %eax"
        attempt "movzwl tables_buffer + 6, %eax"
        attempt "lidtw tables_wrong; sidtl tables_buffer; lidtl tables_gates; mov tables_buffer + 2, %eax"
        attempt "movzwl tables_buffer, %eax"
        attempt "lidtl tables_wrong; sidtl tables_buffer; lidtl tables_gates; mov tables_buffer + 2, %eax"
        attempt "lgdtw tables_wrong; sgdtl tables_buffer; lgdtl tables_old_gdt; mov tables_buffer + 2, %eax"
        attempt "mov $-1, %eax; str %eax"
        attempt "mov $-1, %eax; strw %ax"
        attempt "mov $0x38, %eax; lldt %ax; xor %eax, %eax; sldt %eax"
        attempt "movw $0x38, tables_buffer; lldt tables_buffer; mov $4, %eax; mov %eax, %gs; mov %gs:0, %eax"
        attempt "mov $0x3c, %eax; lldt %ax"
        attempt "mov $0x10, %eax; lldt %ax"
        attempt "mov $0x60, %eax; lldt %ax"
        attempt "mov $0x50, %eax; lldt %ax"
        attempt "xor %eax, %eax; mov %eax, %gs; lldt %ax; mov $-1, %eax; sldt %eax"
        attempt "mov $0x30, %eax; ltr %ax"
        attempt "mov $0x38, %eax; ltr %ax"
        attempt "mov $0x5c, %eax; ltr %ax"
        attempt "mov $0x58, %eax; ltr %ax; xor %eax, %eax; str %eax"
        movzbl legacy_descriptors + 0x5d, %eax
        mov %eax, tables_seen
        andb $~2, legacy_descriptors + 0x35
        mov $0x30, %eax
        ltr %ax
        movzbl legacy_descriptors + 0x35, %eax
        mov %eax, tables_seen + 4
        ret
        .code64
        .data
        .balign 8
tables_wrong:
        .word 0x2ff
        .long 0xba123456
        .balign 8
tables_gates:
        .word 96 * 8 - 1
        .long legacy_gates
        .bss
        .balign 16
        .global tables_old_gdt, tables_seen
tables_buffer: .skip 16
tables_old_gdt: .skip 8
tables_seen: .skip 32
        .text
)asm");

void payload::run() {
    using namespace legacy;
    static u32 local[2];
    static u64 local_table[1];
    local[0] = 0x600d;
    constexpr u16 ldt{other_task}, absent_ldt{task_gate};
    local_table[0] = descriptor(address_of(local), 7, 0x93, 4);
    legacy_descriptors[ldt / 8] = descriptor(address_of(local_table), 7, 0x82, 0);
    legacy_descriptors[absent_ldt / 8] = descriptor(address_of(local_table), 7, 0x02, 0);
    legacy_descriptors[spare / 8] = descriptor(address_of(legacy_task), 0x67, 0x81, 0); // a 16-bit task
    legacy::run(tables_run);

    expect_value(address_of(legacy_descriptors), "base of the GDT");
    expect_value(0, "SGDT writes six bytes");
    expect_value(0x12'3456, "base that a narrow LIDT loads");
    expect_value(0x2ff, "limit that a narrow LIDT loads");
    expect_value(0xba12'3456, "base that a wide LIDT loads");
    expect_value(0x12'3456, "base that a narrow LGDT loads");
    expect_value(task, "STR of 32 bits");
    expect_value(0xffff'0000 | task, "STR of 16 bits");
    expect_value(ldt, "SLDT");
    expect_value(0x600d, "a segment of the LDT");
    expect_fault(vector::protection, ldt | 4, "LLDT from the LDT");
    expect_fault(vector::protection, 0x10, "LLDT of data");
    expect_fault(vector::protection, 0x60, "LLDT beyond the table");
    expect_fault(vector::not_present, absent_ldt, "LLDT of an absent one");
    expect_value(0, "LLDT of null");
    expect_fault(vector::protection, task, "LTR of a busy task");
    expect_fault(vector::protection, ldt, "LTR of an LDT");
    expect_fault(vector::protection, spare | 4, "LTR from the LDT");
    expect_value(spare, "LTR of a 16-bit task");
    expect_equal(tables_seen[0], 0x83, "the 16-bit task is busy");
    expect_equal(tables_seen[1], 0x8b, "the 32-bit task is busy again");
    expect_all_judged();
}
