// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: addresses, memory types and bits that an MSR cannot hold raise #GP and change nothing.
// reference: no, QEMU does not check these values; Bochs does.
#include "payload.hpp"

using namespace payload;

namespace {

void refuses(u32 index, u64 value, char const* what) {
    auto const old = rdmsr(index);
    expect_exception(vector::protection, [=] { wrmsr(index, value); }, what);
    expect_equal(rdmsr(index), old, "a refused write changes nothing");
}

} // namespace

void payload::run() {
    u32 const addresses[]{0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102, 0x175, 0x176};
    for (auto const index : addresses) {
        refuses(index, 0x0000800000000000, "the first address that is not canonical");
        refuses(index, 0xffff7fffffffffff, "the last one");
        refuses(index, 0x8000000000000000, "one between");
    }
    for (unsigned field{}; field != 8; ++field) {
        auto const others = 0x0606060606060606 & ~(u64{0xff} << (8 * field));
        refuses(0x277, others | u64{2} << (8 * field), "memory type 2 in PAT");
        refuses(0x277, others | u64{3} << (8 * field), "memory type 3 in PAT");
        refuses(0x277, others | u64{8} << (8 * field), "memory type 8 in PAT");
    }
    refuses(0x2ff, 0xc00 | 2, "default memory type 2");
    refuses(0x2ff, 0x1000, "a reserved bit of the MTRR default type");
    refuses(0xfe, 0, "MTRRcap is read-only");
}
