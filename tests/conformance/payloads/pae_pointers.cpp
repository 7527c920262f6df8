// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a reserved bit in a pointer of PAE paging raises #GP when a register loads it, or #PF when it is used.
// reference: no, QEMU does not check these bits.
// not on qemu-svm: QEMU does not check these bits.
// SDM Vol. 3A, "PDPTE Registers"; APM Vol. 2, "Nested Paging": under nested paging they are read when they are used.
#include "legacy.hpp"

using namespace payload;

extern "C" {
void pointers_run();
alignas(4096) u64 good_pointers[4];
alignas(4096) u64 bad_pointers[4];
}

asm(R"asm(
        .text
        .code32
        .global pointers_run
pointers_run:
        mov %cr4, %eax
        or $0x20, %eax
        mov %eax, %cr4
        mov $good_pointers, %eax
        mov %eax, %cr3
        mov %cr0, %eax
        or $0x80010000, %eax
        mov %eax, %cr0
        jmp 6f
6:      attempt "mov 0x80100000, %eax"
        attempt "mov $bad_pointers, %eax; mov %eax, %cr3"
        attempt "mov 0x80100000, %eax"
        attempt "mov $0x600d, %eax"
        mov $good_pointers, %eax
        mov %eax, %cr3
        attempt "mov 0x80100000, %eax"
        # Paging goes on with a bad one.
        mov %cr0, %ebx
        and $0x7fffffff, %ebx
        mov %ebx, %cr0
        mov $bad_pointers, %eax
        mov %eax, %cr3
        mov %ebx, %eax
        or $0x80000000, %eax
        attempt "mov %eax, %cr0"
        attempt "mov 0x80100000, %eax"
        mov %ebx, %cr0
        mov $good_pointers, %eax
        mov %eax, %cr3
        mov %ebx, %eax
        or $0x80000000, %eax
        mov %eax, %cr0
        attempt "mov 0x80100000, %eax"
        # A change of CR4.PGE loads them again.
        orl $4, good_pointers + 16
        mov %cr4, %ecx
        xor $0x80, %ecx
        attempt "mov %ecx, %cr4"
        attempt "mov 0x80100000, %eax"
        andl $~4, good_pointers + 16
        ret
        .code64
        .text
)asm");

namespace {
u32 word;

/// A bad pointer raises #GP when it is loaded, and nothing changes; or #PF when it is used.
void expect_refusal(char const* what) {
    auto const &load = legacy::next(), &use = legacy::next();
    if (load.vector == vector::protection) {
        expect_equal(load.error_code, 0, what);
        expect_equal(use.vector, none, what);
        expect_equal(use.eax, word, what);
    } else {
        expect_equal(load.vector, none, what);
        expect_equal(use.vector, vector::page_fault, what);
        expect_equal(use.error_code & 8, 8, what);
    }
}
} // namespace

void payload::run() {
    using namespace legacy;
    alignas(4096) static u64 directory[512], upper[512];
    for (u32 i{}; i != 512; ++i)
        directory[i] = i * 0x200000 | 0x83;
    upper[0] = 0x200000 | 0x83;
    good_pointers[0] = bad_pointers[0] = reinterpret_cast<u64>(directory) | 1;
    good_pointers[2] = reinterpret_cast<u64>(upper) | 1;
    bad_pointers[2] = good_pointers[2] | 4;
    word = 0x12345678;
    *reinterpret_cast<u32 volatile*>(0x300000) = word;
    legacy::run(pointers_run);

    expect_value(word, "a good pointer");
    expect_refusal("CR3 with a bad pointer");
    expect_value(0x600d, "code goes on");
    expect_value(word, "the good pointer again");
    auto const *load = &next(), *use = &next();
    if (load->vector == vector::protection) {
        expect_equal(load->error_code, 0, "CR0.PG with a bad pointer");
        expect_equal(use->vector, none, "paging stayed off");
    } else {
        expect_equal(load->vector, none, "CR0.PG with a bad pointer");
        expect_equal(use->vector, vector::page_fault, "the use of a pointer that CR0.PG brought");
    }
    expect_value(word, "the good pointer with CR0.PG");
    expect_refusal("CR4.PGE with a bad pointer");
    expect_all_judged();
}
