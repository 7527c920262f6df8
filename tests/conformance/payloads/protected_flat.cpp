// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// reference: no, QEMU does not check the limits of segments; a hypervisor does where it serves a device or a string.
// judges: 32-bit protected mode without paging exits like other code, and segments bound devices and strings as memory.
#include "devices.hpp"
#include "legacy.hpp"

using namespace payload;

asm(R"asm(
        .text
        .code32
        .global flat_run
flat_run:
        attempt "xor %eax, %eax; cpuid; mov %ebx, %eax"
        attempt "mov 0xfee00030, %eax"
        attempt "mov $0xc0000080, %ecx; rdmsr"
        attempt "mov %cr0, %eax"
        # FS is a window of 16 bytes.
        mov $0x58, %eax
        mov %eax, %fs
        attempt "mov %fs:12, %eax"
        attempt "movzbl %fs:15, %eax"
        attempt "xor %eax, %eax; mov %eax, %ss"
        attempt "mov $0x50, %eax; mov %eax, %gs"
        attempt "mov $0x50, %eax; mov %eax, %ss"
        attempt "mov $0x18, %eax; mov %eax, %ss"
        attempt "mov $0x60, %eax; mov %eax, %gs"
        # Exceptions that 64-bit mode has not.
        attempt "mov $5, %eax; bound %eax, flat_bounds"
        attempt "mov $7, %eax; bound %eax, flat_bounds"
        attempt "mov $0x7f, %al; add $1, %al; into"
        attempt "mov $0x1234, %eax; aam $0"
        # A device through a segment that ends behind its second register.
        mov $0x48, %eax
        mov %eax, %fs
        attempt "mov %fs:0x30, %eax"
        attempt "mov %fs:0x31, %eax"
        # Strings between a device and the window: two units fit.
        mov $0x38, %eax
        mov %eax, %es
        attempt "mov $0xfee00030, %esi; mov $8, %edi; mov $5, %ecx; cld; rep movsl"
        mov %ecx, flat_ecx
        mov %esi, flat_esi
        mov %edi, flat_edi
        mov $0x38, %eax
        mov %eax, %es
        attempt "mov $0x1234, %edx; mov $14, %edi; mov $5, %ecx; rep insb"
        mov %ecx, flat_ecx + 4
        mov %edi, flat_edi + 4
        mov $0x48, %eax
        mov %eax, %fs
        attempt "mov $0x80, %edx; mov $0x32, %esi; mov $5, %ecx; rep outsb %fs:(%esi), (%dx)"
        mov %ecx, flat_ecx + 8
        mov %esi, flat_esi + 8
        mov $0x10, %eax
        mov %eax, %es
        mov %eax, %fs
        ret
        .code64
        .data
flat_bounds: .long 3, 6
        .global flat_ecx, flat_esi, flat_edi
flat_ecx: .long 0, 0, 0
flat_esi: .long 0, 0, 0
flat_edi: .long 0, 0, 0
        .text
)asm");
extern "C" {
void flat_run();
extern u32 flat_ecx[3], flat_esi[3], flat_edi[3];
}

void payload::run() {
    alignas(8) static u8 bytes[32];
    for (unsigned i{}; i != 32; ++i)
        bytes[i] = static_cast<u8>(0x10 + i);
    lapic::enable();
    auto const version = lapic::read(lapic::version);
    using namespace legacy;
    constexpr u8 read_only{0x91}, writable{0x93}, absent{0x13}, wide{4};
    legacy_descriptors[spare / 8] = descriptor(address_of(bytes), 15, read_only, wide);
    legacy_descriptors[task_gate / 8] = descriptor(0, 0xfffff, absent, wide | 8);
    legacy_descriptors[narrow_data / 8] = descriptor(static_cast<u32>(lapic::base), 0x33, writable, wide);
    legacy_descriptors[other_task / 8] = descriptor(address_of(bytes), 15, writable, wide);
    legacy::run(flat_run);

    expect_value(cpuid(0).ebx, "CPUID");
    expect_value(version, "a device read");
    expect_value(rdmsr(0xc0000080) & 0xffff & ~0x500u, "EFER without long mode");
    expect_value(static_cast<u32>(read_cr0()) & 0x7fffffff, "CR0 without paging");
    expect_value(0x1f1e1d1c, "the last double word of a segment");
    expect_value(0x1f, "the last byte of a segment");
    expect_fault(vector::protection, 0, "SS with the null selector");
    expect_fault(vector::not_present, task_gate, "GS with an absent segment");
    expect_fault(vector::stack_fault, task_gate, "SS with an absent segment");
    expect_fault(vector::protection, code, "SS with a code segment");
    expect_fault(vector::protection, 0x60, "a selector beyond the table");
    expect_value(5, "BOUND within");
    expect_fault(5, 0, "BOUND without");
    expect_fault(vector::overflow, 0, "INTO after an overflow");
    expect_fault(vector::divide_error, 0, "AAM of 0");
    expect_value(version, "a device register at the end of a segment");
    expect_fault(vector::protection, 0, "a device register that ends beyond it");

    expect_fault(vector::protection, 0, "REP MOVSD from a device past the limit");
    expect_equal(flat_ecx[0], 3, "ECX there");
    expect_equal(flat_esi[0], 0xfee00038, "ESI there");
    expect_equal(flat_edi[0], 16, "EDI there");
    expect_equal(*reinterpret_cast<u32 volatile*>(bytes + 8), version, "what the first unit stored");
    expect_equal(bytes[16], 0x20, "nothing behind the segment changed");
    expect_fault(vector::protection, 0, "REP INSB past the limit");
    expect_equal(flat_ecx[1], 3, "ECX there");
    expect_equal(flat_edi[1], 16, "EDI there");
    expect_equal(bytes[15], 0xff, "the last byte that fits");
    expect_fault(vector::protection, 0, "REP OUTSB past the limit");
    expect_equal(flat_ecx[2], 3, "ECX there");
    expect_equal(flat_esi[2], 0x34, "ESI there");
    expect_all_judged();
}
