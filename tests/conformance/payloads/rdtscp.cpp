// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// judges: RDTSCP exists where CPUID says so, and reads the time-stamp counter and TSC_AUX.
#include "payload.hpp"

using namespace payload;

namespace {
struct reading {
    u64 tsc;
    u64 aux;
};
auto rdtscp() -> reading {
    u64 low{~u64{}}, high{~u64{}}, aux{~u64{}};
    asm volatile("rdtscp" : "+a"(low), "+d"(high), "+c"(aux)::"memory");
    return {high << 32 | low, aux};
}
} // namespace

void payload::run() {
    constexpr u32 tsc_aux{0xc0000103};
    if ((cpuid(0x80000001).edx >> 27 & 1) == 0) {
        expect_exception(vector::undefined, [] { (void)rdtscp(); }, "RDTSCP where CPUID hides it");
        return;
    }
    u64 const values[]{0, 7, 0xfedcba98};
    for (auto const value : values) {
        wrmsr(tsc_aux, value);
        reading got{};
        u64 before{}, after{};
        expect_exception(
            none,
            [&] {
                before = rdtsc();
                got = rdtscp();
                after = rdtsc();
            },
            "RDTSCP");
        expect_between(got.tsc, before, after, "RDTSCP between two RDTSC");
        expect_equal(got.aux, value, "RCX is TSC_AUX, its upper half clear");
    }
}
