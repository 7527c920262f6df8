// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_vmx_apicv
// smoke: yes
// judges: every form of MOV and MOVSXD that reaches a device register moves the right bits.
#include "devices.hpp"

using namespace payload;

namespace {
// A register that reads back what is written: the task priority's neighbour LDR keeps its upper 8 bits, the timer's
// initial count all 32; the HPET's counter, while it stands, 64 or 32.
constexpr u64 count{lapic::base + lapic::initial_count};
constexpr u64 hpet_counter{hpet::base + hpet::counter};
} // namespace

void payload::run() {
    lapic::enable();
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    hpet::write(hpet::configuration, 0);
    auto const expect_count = [](u32 v, char const* what) { expect_equal(mmio_read<u32>(count), v, what); };

    asm volatile("movl $0x12345678, (%0)" ::"r"(count) : "memory");
    expect_count(0x12345678, "MOV m32, imm32");
    asm volatile("movl %1, 0x380(%0)" ::"r"(lapic::base), "r"(0x23456789) : "memory");
    expect_count(0x23456789, "MOV m32, r32 with a displacement");
    asm volatile("movl %%r13d, (%0, %1, 8)" ::"r"(lapic::base), "r"(u64{0x380 / 8}) : "memory");
    asm volatile("mov $0x3456789a, %%r13d; movl %%r13d, (%0, %1, 8)" ::"r"(lapic::base), "r"(u64{0x380 / 8})
                 : "memory", "r13");
    expect_count(0x3456789a, "MOV m32, r13d with base, index and scale");
    asm volatile("mov %0, %%r12; movl $0x456789ab, (%%r12)" ::"r"(count) : "memory", "r12");
    expect_count(0x456789ab, "MOV [r12]: base 4 needs a SIB byte");
    asm volatile("mov %0, %%r13; movl $0x56789abc, (%%r13)" ::"r"(count) : "memory", "r13");
    expect_count(0x56789abc, "MOV [r13]: base 5 needs a displacement");
    asm volatile("movl $0x6789abcd, %%fs:(%0)" ::"r"(count) : "memory");
    expect_count(0x6789abcd, "MOV with a segment prefix");
    asm volatile("mov $0x789abcde, %%eax; .byte 0x67, 0xa3; .long 0xfee00380" ::: "eax", "memory");
    expect_count(0x789abcde, "MOV moffs32, EAX with 32-bit addresses");
    asm volatile("mov $0x89abcdef, %%eax; movabs %%eax, 0xfee00380" ::: "eax", "memory");
    expect_count(0x89abcdef, "MOV moffs64, EAX");
    asm volatile("addr32 movl $0x9abcdef0, (%k0)" ::"r"(count | u64{0xabcd} << 32) : "memory");
    expect_count(0x9abcdef0, "MOV with 32-bit addresses: the upper half of the base does not count");
    asm volatile(".byte 0x3e; movl $0x0abcdef1, (%0)" ::"r"(count) : "memory");
    expect_count(0x0abcdef1, "MOV with an idle prefix");

    u64 v{~u64{}};
    asm volatile("movl (%1), %k0" : "+r"(v) : "r"(count) : "memory");
    expect_equal(v, 0x0abcdef1, "MOV r32, m32 clears the upper half");
    v = ~u64{};
    asm volatile("addr32 movl (%k1), %k0" : "+r"(v) : "r"(count) : "memory");
    expect_equal(v, 0x0abcdef1, "the same with a prefix that means something");
    v = ~u64{};
    asm volatile("mov %0, %%r9; movl (%1), %%r9d; mov %%r9, %0" : "+r"(v) : "r"(count) : "r9", "memory");
    expect_equal(v, 0x0abcdef1, "MOV R9D, m32");
    v = ~u64{};
    asm volatile("mov %1, %%rax; movl (%%rax), %%eax; mov %%rax, %0" : "+r"(v) : "r"(count) : "rax", "memory");
    expect_equal(v, 0x0abcdef1, "MOV EAX, [RAX]");
    asm volatile("movabs 0xfee00380, %%eax; mov %%rax, %0" : "=r"(v)::"rax", "memory");
    expect_equal(v, 0x0abcdef1, "MOV EAX, moffs64");
    mmio_write<u32>(count, 0x87654321);
    asm volatile("movslq (%1), %0" : "=r"(v) : "r"(count) : "memory");
    expect_equal(v, 0xffffffff87654321, "MOVSXD");

    // 64 bits wide.
    hpet::write(hpet::counter, 0);
    mmio_write<u64>(hpet_counter, 0x0000000012345678);
    expect_equal(hpet::read(hpet::counter), 0x12345678, "MOV m64, r64");
    asm volatile("movq $0x7fffffff, (%0)" ::"r"(hpet_counter) : "memory");
    expect_equal(hpet::read(hpet::counter), 0x7fffffff, "MOV m64, imm32");
    asm volatile("movabs %%rax, 0xfed000f0" ::"a"(u64{0x13579}) : "memory");
    expect_equal(hpet::read(hpet::counter), 0x13579, "MOV moffs64, RAX");
    auto const capabilities = hpet::read(hpet::capabilities);
    expect_equal(mmio_read<u32>(hpet::base), capabilities & 0xffffffff, "the lower half alone");
    expect_equal(mmio_read<u32>(hpet::base + 4), capabilities >> 32, "the upper half alone");
    asm volatile("movabs 0xfed00000, %%rax" : "=a"(v)::"memory");
    expect_equal(v, capabilities, "MOV RAX, moffs64");
    mmio_write<u32>(count, 0);
}
