// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: MONITOR and MWAIT do not exist where CPUID hides them, and without performance counters RDPMC raises #GP.
// reference: no, QEMU has no RDPMC at all.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    static u64 line[8];
    if ((cpuid(1).ecx >> 3 & 1) == 0) {
        expect_exception(vector::undefined, [] { asm volatile("monitor" ::"a"(line), "c"(0), "d"(0)); }, "MONITOR");
        expect_exception(vector::undefined, [] { asm volatile("mwait" ::"a"(0), "c"(0)); }, "MWAIT");
    }
    if (cpuid(0).eax >= 10 and (cpuid(10).eax & 0xff) != 0)
        return;
    for (u32 counter{}; counter != 4; ++counter)
        expect_exception(
            vector::protection, [counter] { asm volatile("rdpmc" ::"c"(counter)
                                                         : "eax", "edx"); }, "RDPMC");
}
