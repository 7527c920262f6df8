// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 2
// judges: exits of two processors at the same time, each for what is its own, do not touch each other.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 rounds{50};
shared_count here, done;

/// Marks for hv-sharing (codegen/exit_trace/operation_marks.hpp).
template <u32 Number>
void mark() {
    asm volatile(".byte 0x0f, 0x1f, 0x80; .long %c0" ::"i"(0x6877'0000 + Number) : "memory");
}
template <u32 Number, typename Operation>
void operation(Operation&& what) {
    mark<Number>();
    what();
    mark<0>();
}

void skip(frame& f) {
    f.rip += 3; // VMMCALL, VMCALL
}

void exit_often() {
    here.add();
    (void)here.reaches(processor_count());
    for (u32 n{}; n != rounds; ++n) {
        operation<1>([] { asm volatile("cpuid" : : "a"(0), "c"(0) : "ebx", "edx"); });
        operation<2>([] { (void)rdmsr(0xfe); });
        operation<3>([n] { wrmsr(0x2ff, 0xc00 + n % 2 * 6); });
        expect_equal(rdmsr(0x2ff), 0xc00 + n % 2 * 6, "its own register");
        operation<4>([] { asm volatile("vmmcall"); });
        operation<5>([] { (void)lapic::read(lapic::id); });
        expect_equal(lapic::read(lapic::id) >> 24, own_number(), "its own local APIC");
        operation<6>([] { (void)in8(0x40); });
        pause();
    }
    done.add();
}

} // namespace

void payload::run() {
    lapic::enable();
    set_handler(vector::undefined, skip);
    if (not start_all(exit_often, here))
        return;
    exit_often();
    expect(done.reaches(processor_count()), "all come to the end");
}
