// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: segments of 32-bit code bound what it reads, writes and fetches, from below too if they expand down.
// reference: no, QEMU does not check limits and types of segments at each access.
// not on qemu-svm: QEMU does not check limits and types of segments at each access.
#include "legacy.hpp"

using namespace payload;

asm(R"asm(
        .text
        .code32
        .global limits_run
limits_run:
        mov $0x58, %eax
        mov %eax, %fs
        attempt "mov %fs:12, %eax"
        attempt "mov %fs:13, %eax"
        attempt "movzbl %fs:15, %eax"
        attempt "movzbl %fs:16, %eax"
        attempt "mov %fs:-1, %eax"
        attempt "movb $1, %fs:0"
        attempt "xor %eax, %eax; mov %eax, %gs; mov %gs:0, %eax"
        # GS expands down: from 16 on.
        mov $0x38, %eax
        mov %eax, %gs
        attempt "movzbl %gs:16, %eax"
        attempt "movzbl %gs:15, %eax"
        attempt "mov %gs:0xffff, %al; movzbl %al, %eax"
        attempt "movzbl %gs:0x10000, %eax"
        # Code that ends behind its first page.
        attempt "ljmp $0x40, $0x1000"
        ret
        .code64
        .text
)asm");
extern "C" void limits_run();

void payload::run() {
    using namespace legacy;
    static u8 bytes[0x20000];
    for (unsigned i{}; i != 32; ++i)
        bytes[i] = static_cast<u8>(0x10 + i);
    bytes[0xffff] = 0x77;
    constexpr u8 read_only{0x91}, down{0x97}, executable{0x9b}, wide{4};
    legacy_descriptors[spare / 8] = descriptor(address_of(bytes), 15, read_only, wide);
    legacy_descriptors[other_task / 8] = descriptor(address_of(bytes), 15, down, 0);
    legacy_descriptors[narrow_code / 8] = descriptor(address_of(bytes), 0xfff, executable, wide);
    legacy::run(limits_run);

    expect_value(0x1f1e1d1c, "the last double word of a segment");
    expect_fault(vector::protection, 0, "one that ends beyond the limit");
    expect_value(0x1f, "the last byte of a segment");
    expect_fault(vector::protection, 0, "the byte behind it");
    expect_fault(vector::protection, 0, "the end of the addresses");
    expect_fault(vector::protection, 0, "a write to a read-only segment");
    expect_fault(vector::protection, 0, "a read through the null selector");
    expect_value(0x20, "the first byte of a segment that expands down");
    expect_fault(vector::protection, 0, "the byte below it");
    expect_value(0x77, "the last byte of a segment that expands down");
    expect_fault(vector::protection, 0, "the byte above it");
    expect_fault(vector::protection, 0, "a jump beyond the limit of the code");
    expect_all_judged();
}
