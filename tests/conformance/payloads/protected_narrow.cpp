// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: 16-bit protected code exits like other code: 16-bit addresses, strings that wrap, IP within its segment.
// reference: no, QEMU's local APIC reads otherwise by words and between registers.
#include "devices.hpp"
#include "legacy.hpp"

using namespace payload;

asm(R"asm(
        .text
        .code32
        .global narrow_run
narrow_run:
        mov $0x38, %eax # ES: 64 KiB of data
        mov %eax, %es
        mov $0x48, %eax # FS: the local APIC
        mov %eax, %fs
        lcall $0x40, $narrow_code - narrow_base
        mov $0x10, %eax
        mov %eax, %es
        mov %eax, %fs
        ret

        .code16
        .global narrow_base
narrow_base:
        .skip 16
narrow_code:
        cld
        mov $narrow_results, %ebp
        xor %eax, %eax
        mov $0xffff1234, %ecx
        cpuid
        mov %ebx, %ds:(%ebp)
        # A device by base, index and displacement, which wrap at 64 KiB.
        mov $0xfff0, %bx
        mov $0x38, %si
        mov %fs:8(%bx,%si), %eax
        mov %eax, %ds:4(%ebp)
        mov %fs:0x30, %ax
        movzwl %ax, %eax
        mov %eax, %ds:8(%ebp)
        mov $0x00600d00, %eax
        mov %eax, %fs:0x80
        # A port, with a size prefix and without.
        mov $0x40, %al
        out %al, $0x70
        mov $0x11223344, %eax
        in $0x71, %al
        mov %eax, %ds:12(%ebp)
        mov $0x1234, %dx
        mov $0x11223344, %eax
        in %dx, %ax
        mov %eax, %ds:16(%ebp)
        in %dx, %eax
        mov %eax, %ds:20(%ebp)
        # From the device to memory at a wrapping DI, a double word at a time.
        mov $0x77770030, %esi
        mov $0x8888fff8, %edi
        mov $0x99990003, %ecx
        rep movsl %fs:(%si), %es:(%di)
        mov %esi, %ds:40(%ebp)
        mov %edi, %ds:44(%ebp)
        mov %ecx, %ds:48(%ebp)
        # Strings: DI and CX only, DI wraps.
        mov $0x5555fffe, %edi
        mov $0x66660004, %ecx
        mov $0x71, %dx
        rep insb
        mov %edi, %ds:24(%ebp)
        mov %ecx, %ds:28(%ebp)
        mov $0x3333fffd, %esi
        mov $0x44440002, %ecx
        mov $0x80, %dx
        rep outsb %es:(%si), (%dx)
        mov %esi, %ds:32(%ebp)
        mov %ecx, %ds:36(%ebp)
        # RDMSR, and a write of the task-priority register by MOV with a prefix that fills EAX.
        mov $0xc0000080, %ecx
        rdmsr
        mov %eax, %ds:52(%ebp)
        mov %cr0, %eax
        mov %eax, %ds:56(%ebp)
        mov %eax, %cr0
        lretl
        .code64
        .data
        .balign 4
        .global narrow_results
narrow_results: .fill 16, 4, 0
        .text
)asm");
extern "C" {
void narrow_run();
extern u8 narrow_base[];
extern u32 narrow_results[16];
}

void payload::run() {
    alignas(4096) static u8 bytes[0x10000];
    lapic::enable();
    auto const version = lapic::read(lapic::version);
    auto const old = rtc::read(0x40);
    rtc::write(0x40, 0x5a);
    using namespace legacy;
    constexpr u8 executable{0x9b}, writable{0x93};
    legacy_descriptors[narrow_code / 8] = descriptor(address_of(*narrow_base), 0xffff, executable, 0);
    legacy_descriptors[narrow_data / 8] = descriptor(static_cast<u32>(lapic::base), 0xffff, writable, 0);
    legacy_descriptors[other_task / 8] = descriptor(address_of(bytes), 0xffff, writable, 0);
    legacy::run(narrow_run);

    auto const& r = narrow_results;
    expect_equal(r[0], cpuid(0).ebx, "CPUID");
    expect_equal(r[1], version, "a device by a 16-bit address that wraps");
    expect_equal(r[2], version & 0xffff, "a word of the device");
    expect_equal(r[3], 0x1122335a, "IN of a byte");
    expect_equal(r[4], 0x1122ffff, "IN of a word");
    expect_equal(r[5], 0xffffffff, "IN of a double word");
    expect_equal(r[6], 0x55550002, "DI wrapped within its 16 bits");
    expect_equal(r[7], 0x66660000, "CX counted within its 16 bits");
    for (u16 at{0xfffe}; at != 2; ++at)
        expect_equal(bytes[at], 0x5a, "a byte of REP INSB");
    expect_equal(bytes[2], 0, "the byte behind");
    expect_equal(r[8], 0x3333ffff, "SI");
    expect_equal(r[9], 0x44440000, "CX");
    expect_equal(r[10], 0x7777003c, "SI behind REP MOVSD");
    expect_equal(r[11], 0x88880004, "DI behind REP MOVSD wrapped");
    expect_equal(r[12], 0x99990000, "CX behind REP MOVSD");
    expect_equal(*reinterpret_cast<u32 volatile*>(bytes + 0xfff8), version, "its first unit");
    expect_equal(bytes[3], 0, "its last unit, between two registers, reads as 0");
    expect_equal(r[13], rdmsr(0xc0000080) & 0xffff & ~0x500u, "RDMSR");
    expect_equal(r[14], read_cr0() & 0x7fffffff, "CR0");
    expect_equal(lapic::read(lapic::tpr), 0, "task priority, whose byte was 0");
    rtc::write(0x40, old);
}
