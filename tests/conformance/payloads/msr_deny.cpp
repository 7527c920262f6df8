// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: MSRs that no policy names do not exist: RDMSR and WRMSR raise #GP, above all those of virtualisation.
// reference: no, QEMU reads unknown MSRs as 0 and ignores writes.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    u32 const denied[]{0x2,        0x9,        0x17,       0x34,       0xce,       0x198,      0x19c,      0x345,
                       0x480,      0x48b,      0x491,      0x492,      0x570,      0x600,      0x6a0,      0x7ff,
                       0x900,      0xc80,      0x1fff,     0x40000000, 0x40000100, 0x4b564d00, 0x4b564d01, 0xc0000079,
                       0xc00000e9, 0xc0000104, 0xc0010061, 0xc0010114, 0xc0010117, 0xc0010118, 0xc00110a2, 0xffffffff};
    for (auto const index : denied) {
        expect_exception(vector::protection, [index] { (void)rdmsr(index); }, "RDMSR");
        expect_exception(vector::protection, [index] { wrmsr(index, 0); }, "WRMSR of 0");
        expect_exception(vector::protection, [index] { wrmsr(index, ~u64{}); }, "WRMSR of all ones");
    }
}
