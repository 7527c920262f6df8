// SPDX-License-Identifier: BSD-2-Clause
// expect: 3
// machine: pc_xsave
// says: stopped: isolation broken
// reference: no, the processor itself has the state that the hypervisor hides
// not on bochs-svm: The processor intercepts XSETBV, and xsave_refused_state judges what the guest gets.
// not on bochs-vmx: XSETBV always exits under VMX, and xsave_refused_state judges what the guest gets.
// judges: a guest that turns on a state which its CPUID hides is stopped, because XSETBV does not exit.
#include "payload.hpp"
#include "xsave.hpp"

using namespace payload;
using namespace payload::xsave;

void payload::run() {
    expect_equal(cpuid(0xd).eax, x87 | sse | avx, "states");
    expect_equal(cpuid(0xd).edx, 0, "states above");
    expect_equal(cpuid(0xd).ecx, 832, "the largest size");
    expect_equal(cpuid(0xd, 1).eax & 0xa, 0, "neither XSAVEC nor XSAVES");
    expect_equal(cpuid(0xd, 1).ebx, 0, "no compacted size");
    for (u32 i{3}; i != 64; ++i)
        expect_equal(cpuid(0xd, i).eax | cpuid(0xd, i).ebx, 0, "a hidden state");
    write_cr4(read_cr4() | osxsave);
    xsetbv(0, x87 | sse | avx);
    (void)cpuid(0);
    expect_equal(xgetbv(0), x87 | sse | avx, "XCR0");
    if (attempt([] { xsetbv(0, x87 | sse | avx | pkru); }).vector != none)
        return fail("XSETBV raised an exception: this payload is for processors that let it through");
    (void)cpuid(0);
    fail("the guest goes on with a hidden state");
}
