// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: every MSR number either has a register behind it or raises #GP with error code 0; none does anything worse.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    struct range {
        u32 first, count;
    };
    range const ranges[]{{0, 0x2000},          {0x40000000, 0x200},  {0x4b564d00, 0x10}, {0x80000000, 0x10},
                         {0xc0000000, 0x2000}, {0xc0010000, 0x2000}, {0xfffffff0, 0x10}};
    u64 present{};
    for (auto const& r : ranges)
        for (u32 i{}; i != r.count; ++i) {
            auto const index = r.first + i;
            auto const got = attempt([index] { (void)rdmsr(index); });
            if (got.vector == none) {
                ++present;
                continue;
            }
            expect_equal(got.vector, vector::protection, "RDMSR of an absent register");
            expect_equal(got.error_code, 0, "its error code");
        }
    expect(present >= 8, "some registers exist");

    u32 const absent[]{0x3fffffff, 0xc0012000, 0xffffffff};
    for (auto const index : absent)
        for (u64 value{};; value = ~u64{}) {
            auto const got = attempt([index, value] { wrmsr(index, value); });
            expect(got.vector == none or got.vector == vector::protection, "WRMSR to an absent register");
            if (value != 0)
                break;
        }
}
