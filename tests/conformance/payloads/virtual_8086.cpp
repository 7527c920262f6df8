// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: virtual-8086 mode exits and faults as its own: devices by paging, #GP for what IOPL and the bitmap deny.
// not on bochs-svm: Bochs 2.7 ends itself when a guest in virtual-8086 mode exits to a host in long mode.
// SDM Vol. 3B, "8086 Emulation".
#include "devices.hpp"
#include "legacy.hpp"

using namespace payload;

extern "C" {
void v86_run();
alignas(4096) u32 v86_directory[1024];
}

asm(R"asm(
        .macro v86 flags, where
        attempt "call v86_enter_\flags\()_\where"
        .endm
        .macro v86_entry flags, where
v86_enter_\flags\()_\where:
        pushl $0
        pushl $0
        pushl $0
        pushl $0
        pushl $0
        pushl $0x7000
        pushl $0x20002 | \flags << 12
        pushl $0
        pushl $0x8000 + 0x20 * \where
        iretl
        .endm

        .text
        .code32
        v86_entry 0, 0
        v86_entry 0, 1
        v86_entry 3, 1
        v86_entry 0, 2
        v86_entry 3, 2
        v86_entry 0, 3
        v86_entry 3, 4
        v86_entry 0, 5
        v86_entry 0, 6
        v86_entry 3, 7
        v86_entry 3, 8
        v86_entry 3, 9
        v86_entry 3, 10
        .global v86_run
v86_run:
        mov $v86_directory, %eax
        mov %eax, %cr3
        mov %cr0, %eax
        or $0x80010000, %eax
        mov %eax, %cr0
        jmp 6f
6:      v86 0, 0
        v86 0, 1
        v86 3, 1
        v86 0, 2
        v86 3, 2
        v86 0, 3
        v86 3, 4
        v86 0, 5
        v86 0, 6
        v86 3, 7
        v86 3, 8
        v86 3, 9
        v86 3, 10
        ret

        # Pieces of 32 bytes that go to 8000h; each ends with UD2.
        .code16
        .balign 32
        .global v86_pieces
v86_pieces:
        mov $0, %eax; cpuid; mov %ebx, %eax; ud2
        .balign 32
        cli; mov $1, %eax; ud2
        .balign 32
        int $0x40; ud2
        .balign 32
        hlt; ud2
        .balign 32
        in $0x71, %al; ud2
        .balign 32
        mov 0x9030, %eax; ud2
        .balign 32
        mov $0x902c, %si; mov $0x7800, %di; mov $3, %cx; cld; rep movsl; mov 0x7804, %eax; ud2
        .balign 32
        mov %cr0, %eax; ud2
        .balign 32
        rdmsr; ud2
        .balign 32
        .byte 0x0f, 0x01, 0xc1; ud2 # VMCALL
        .balign 32
        mov 0xa000, %eax; ud2
        .balign 32
v86_pieces_end:
        .code64
        .text
)asm");
extern "C" u8 const v86_pieces[32 * 11];

void payload::run() {
    using namespace legacy;
    lapic::enable();
    auto const version = lapic::read(lapic::version);
    constexpr u32 everybody{7};
    alignas(4096) static u32 low[1024];
    for (u32 i{}; i != 1024; ++i)
        low[i] = i * 4096 | everybody;
    low[9] = static_cast<u32>(lapic::base) | everybody;
    low[10] = 0;
    v86_directory[0] = address_of(low) | everybody;
    for (unsigned i{}; i != 32 * 11; ++i)
        *reinterpret_cast<u8 volatile*>(0x8000 + u64{i}) = v86_pieces[i];
    legacy::run(v86_run);

    constexpr u32 vm{1u << 17};
    auto const piece = [](unsigned n) { return 0x8000 + 0x20 * n; };
    auto const& first = expect_fault(vector::undefined, 0, "CPUID, then UD2");
    expect_equal(first.eax, cpuid(0).ebx, "CPUID");
    expect_equal(first.eflags & vm, vm, "the flags have VM");
    expect_equal(first.cs, 0, "CS is a paragraph");
    expect_equal(first.eip, piece(0) + 11, "at the UD2");
    expect_equal(expect_fault(vector::protection, 0, "CLI with IOPL 0").eip, piece(1), "EIP");
    expect_equal(expect_fault(vector::undefined, 0, "CLI with IOPL 3").eax, 1, "went on");
    expect_equal(expect_fault(vector::protection, 0, "INT with IOPL 0").eip, piece(2), "EIP");
    expect_equal(expect_fault(0x40, 0, "INT with IOPL 3").eip, piece(2) + 2, "behind it");
    expect_equal(expect_fault(vector::protection, 0, "HLT").eip, piece(3), "EIP");
    expect_equal(expect_fault(vector::protection, 0, "IN with IOPL 3 and no bitmap").eip, piece(4), "EIP");
    expect_equal(expect_fault(vector::undefined, 0, "a device read").eax, version, "the version");
    expect_equal(expect_fault(vector::undefined, 0, "REP MOVSD from a device").eax, version, "the second unit");
    expect_fault(vector::protection, 0, "MOV from CR0");
    expect_fault(vector::protection, 0, "RDMSR");
    expect_fault(vector::undefined, 0, "VMCALL");
    expect_equal(expect_fault(vector::page_fault, 4, "an absent page").cr2, 0xa000, "CR2");
    expect_all_judged();
}
