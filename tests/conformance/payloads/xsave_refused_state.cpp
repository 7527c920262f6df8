// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// machine: pc_xsave
// reference: no, the processor itself has the state that the hypervisor hides.
// not on qemu-svm: QEMU 7.2 does not intercept XSETBV, and xsave_hidden_state judges what comes of it.
// judges: XSETBV of a state which CPUID hides raises #GP, whether the processor itself has that state or not.
#include "payload.hpp"
#include "xsave.hpp"

using namespace payload;
using namespace payload::xsave;

void payload::run() {
    expect_equal(cpuid(0xd).eax, x87 | sse | avx, "states");
    write_cr4(read_cr4() | osxsave);
    xsetbv(0, x87 | sse | avx);
    for (unsigned state{3}; state != 64; ++state)
        expect_exception(
            vector::protection, [state] { xsetbv(0, x87 | sse | avx | u64{1} << state); }, "a hidden state");
    expect_equal(xgetbv(0), x87 | sse | avx, "XCR0");
}
