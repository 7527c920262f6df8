// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: PAE paging of a 32-bit guest: 2 MiB and 4 KiB pages, no-execute, and pointers that CR3 and CR0 load.
#include "devices.hpp"
#include "legacy.hpp"

using namespace payload;

extern "C" {
void pae_run();
alignas(4096) u64 pae_pointers[8];
extern u32 pae_word;
}

asm(R"asm(
        .text
        .code32
        .global pae_run
pae_run:
        mov %cr4, %eax
        or $0x20, %eax # PAE
        mov %eax, %cr4
        mov $pae_pointers, %eax
        mov %eax, %cr3
        mov %cr0, %eax
        or $0x80010000, %eax
        mov %eax, %cr0
        jmp 6f
6:      attempt "xor %eax, %eax; cpuid; mov %ebx, %eax"
        attempt "mov 0xfee00030, %eax"
        attempt "mov 0x40200030, %eax"
        attempt "mov $pae_word, %ebx; mov 0x40000000(%ebx), %eax"
        attempt "mov 0x40201234, %eax"
        attempt "mov $0x40202000, %eax; call *%eax"
        attempt "mov 0x40203000, %eax"
        attempt "mov 0x80000000(%ebx), %eax"
        # The third pointer comes with CR3.
        movl $pae_directory + 1, pae_pointers + 16
        mov %cr3, %eax
        mov %eax, %cr3
        attempt "mov 0x80000000(%ebx), %eax"
        # Tables need not start at a page: here the second pointer is another.
        mov $pae_pointers + 32, %eax
        mov %eax, %cr3
        attempt "mov 0x40000000(%ebx), %eax"
        attempt "mov 0x80000000(%ebx), %eax"
        mov $pae_pointers, %eax
        mov %eax, %cr3
        # CR0 loads them too.
        mov %cr0, %eax
        and $0x7fffffff, %eax
        mov %eax, %cr0
        movl $0, pae_pointers + 16
        or $0x80000000, %eax
        mov %eax, %cr0
        attempt "mov 0x80000000(%ebx), %eax"
        ret
        .code64
        .data
        .balign 4
        .global pae_word
pae_word: .long 0x12345678
        .bss
        .balign 4096
        .global pae_directory
pae_directory: .skip 4096
        .text
)asm");
extern "C" u64 pae_directory[512];

void payload::run() {
    using namespace legacy;
    lapic::enable();
    auto const version = lapic::read(lapic::version);
    constexpr u64 present{3}, large{0x83};
    alignas(4096) static u64 second[512], third[512], fourth[512], small[512];
    for (u32 i{}; i != 4; ++i)
        pae_directory[i] = i * 0x200000 | large;
    second[0] = large;
    second[1] = reinterpret_cast<u64>(small) | present;
    third[0] = 0x200000 | large;
    fourth[0x1f7] = 0xfee00000 | large;
    small[0] = 0xfee00000 | present;
    small[2] = 0x100000 | present | page::no_execute;
    small[3] = 0x100000 | present | u64{1} << 55; // reserved
    auto const pointer = [](u64* directory) { return reinterpret_cast<u64>(directory) | 1; };
    pae_pointers[0] = pae_pointers[4] = pointer(pae_directory);
    pae_pointers[1] = pointer(second);
    pae_pointers[3] = pae_pointers[7] = pointer(fourth);
    pae_pointers[5] = pointer(third);
    *reinterpret_cast<u32 volatile*>(0x200000 + reinterpret_cast<u64>(&pae_word)) = 0xabcdef01;
    legacy::run(pae_run);

    expect_value(cpuid(0).ebx, "CPUID");
    expect_value(version, "a device through a 2 MiB page");
    expect_value(version, "a device through a 4 KiB page");
    expect_value(0x12345678, "memory through another address");
    expect_equal(expect_fault(vector::page_fault, 0, "an absent page").cr2, 0x40201234, "CR2");
    expect_equal(expect_fault(vector::page_fault, 0x11, "a fetch from a no-execute page").cr2, 0x40202000, "CR2");
    auto const& reserved = next();
    expect_equal(reserved.vector, vector::page_fault, "a reserved bit of a page");
    expect_equal(reserved.error_code & ~1u, 8, "its error code"); // QEMU does not set P
    expect_fault(vector::page_fault, 0, "an absent directory");
    expect_value(0x12345678, "a directory that is there since CR3 was written");
    expect_value(0xabcdef01, "the second pointer of another table");
    expect_fault(vector::page_fault, 0, "its third pointer");
    expect_fault(vector::page_fault, 0, "a pointer that went before paging was on");
    expect_all_judged();
}
