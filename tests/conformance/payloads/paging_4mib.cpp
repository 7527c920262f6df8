// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: 32-bit paging maps 4 KiB and 4 MiB pages, memory and devices, with page faults and accessed and dirty bits.
// SDM Vol. 3A, "32-Bit Paging".
#include "devices.hpp"
#include "legacy.hpp"

using namespace payload;

extern "C" {
void directory_run();
alignas(4096) u32 page_directory[1024];
extern u32 directory_word, directory_rest[3];
}

asm(R"asm(
        .text
        .code32
        .global directory_run
directory_run:
        mov %cr4, %eax
        or $0x10, %eax # PSE
        mov %eax, %cr4
        mov $page_directory, %eax
        mov %eax, %cr3
        mov %cr0, %eax
        or $0x80010000, %eax # PG, WP
        mov %eax, %cr0
        jmp 6f
6:      attempt "xor %eax, %eax; cpuid; mov %ebx, %eax"
        attempt "mov 0xfee00030, %eax"
        attempt "mov 0x10200030, %eax"
        attempt "mov 0x20000030, %eax"
        attempt "mov $directory_word, %ebx; mov 0x14000000(%ebx), %eax"
        attempt "mov page_directory + 0x140, %eax"
        attempt "movl $0x600df00d, 0x14000000(%ebx); mov (%ebx), %eax"
        attempt "mov page_directory + 0x140, %eax"
        attempt "mov 0x20001234, %eax"
        attempt "movl $1, 0x20002000"
        attempt "mov 0x20002000, %eax"
        attempt "mov 0x18000000, %eax"
        attempt "mov 0x30000000, %eax"
        attempt "mov $0x20001000, %eax; call *%eax"
        attempt "cld; mov $0x10200030, %esi; mov $0x20003ff8, %edi; mov $5, %ecx; rep movsl"
        mov %ecx, directory_rest
        mov %esi, directory_rest + 4
        mov %edi, directory_rest + 8
        # The large bit of this entry counts only with PSE; this code lies in small pages.
        attempt "mov 0x18400000, %eax"
        mov %cr4, %eax
        and $~0x10, %eax
        mov %eax, %cr4
        attempt "mov 0x18400000, %eax"
        mov %cr4, %eax
        or $0x10, %eax
        mov %eax, %cr4
        attempt "mov 0x18400000, %eax"
        ret
        .code64
        .data
        .balign 4
        .global directory_word, directory_rest
directory_word: .long 0x12345678
directory_rest: .long 0, 0, 0
        .text
)asm");

void payload::run() {
    using namespace legacy;
    lapic::enable();
    auto const version = lapic::read(lapic::version);
    constexpr u32 present{3}, large{0x83}, read_only{1};
    alignas(4096) static u32 low[1024], small[1024], memory[1024];
    // A page table that is also memory of a 4 MiB page.
    constexpr u32 both{0x1000000};
    auto* const table = reinterpret_cast<u32 volatile*>(u64{both});
    for (u32 i{}; i != 1024; ++i) {
        low[i] = i * 4096 | present;
        table[i] = 0;
    }
    memory[0] = 0xabcdef01;
    table[0] = address_of(memory) | present;
    page_directory[0] = address_of(low) | present;
    page_directory[0x3fb] = 0xfec00000 | large;
    page_directory[0x40] = 0xfec00000 | large;
    page_directory[0x50] = large;
    page_directory[0x60] = large | 1u << 21; // reserved
    page_directory[0x61] = both | large;
    page_directory[0x80] = address_of(small) | present;
    small[0] = 0xfee00000 | present;
    small[2] = address_of(memory) | read_only;
    small[3] = address_of(memory) | present;
    legacy::run(directory_run);

    expect_value(cpuid(0).ebx, "CPUID");
    expect_value(version, "a device through a 4 MiB page");
    expect_value(version, "a device through another 4 MiB page");
    expect_value(version, "a device through a 4 KiB page");
    expect_value(0x12345678, "memory through a 4 MiB page");
    expect_equal(next().eax & 0x60, 0x20, "accessed and not dirty behind a read");
    expect_value(0x600df00d, "what was written through a 4 MiB page");
    expect_equal(next().eax & 0x60, 0x60, "accessed and dirty behind a write");
    expect_equal(expect_fault(vector::page_fault, 0, "an absent 4 KiB page").cr2, 0x20001234, "CR2");
    expect_equal(expect_fault(vector::page_fault, 3, "a write to a read-only page").cr2, 0x20002000, "CR2");
    expect_value(0xabcdef01, "a read of it");
    auto const& reserved = next();
    expect_equal(reserved.vector, vector::page_fault, "a reserved bit of a 4 MiB page");
    expect_equal(reserved.error_code & ~1u, 8, "its error code"); // QEMU does not set P
    expect_equal(expect_fault(vector::page_fault, 0, "an absent table").cr2, 0x30000000, "CR2");
    expect_equal(expect_fault(vector::page_fault, 0, "a fetch from an absent page").eip, 0x20001000, "EIP");
    expect_fault(vector::page_fault, 2, "REP MOVSD from a device to an absent page");
    expect_equal(directory_rest[0], 3, "ECX there");
    expect_equal(directory_rest[1], 0x10200038, "ESI there");
    expect_equal(directory_rest[2], 0x20004000, "EDI there");
    expect_equal(memory[0xff8 / 4], version, "what it had stored");
    auto const entry = address_of(memory) | present | 0x20;
    expect_equal(next().eax | 0x20, entry, "with PSE the entry is a 4 MiB page");
    expect_value(0xabcdef01, "without PSE it is a table");
    expect_equal(next().eax | 0x20, entry, "with PSE again a page");
    expect_all_judged();
}
