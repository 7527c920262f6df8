// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: debug registers read back, refuse reserved bits and keep their values over exits.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    constexpr u64 idle6{0xffff0ff0}, idle7{0x400};
    write_dr<7>(0);
    expect_equal(read_dr<7>(), idle7, "DR7 with nothing on");
    write_dr<6>(0);
    expect_equal(read_dr<6>() & 0xffff0ff0, idle6, "DR6 keeps its ones");
    write_dr<0>(0x1111111111111111);
    write_dr<1>(0x2222222222222222);
    write_dr<2>(0x3333333333333333);
    write_dr<3>(0x4444444444444444);
    (void)cpuid(0);
    out8(0x80, 0);
    expect_equal(read_dr<0>(), 0x1111111111111111, "DR0 after exits");
    expect_equal(read_dr<1>(), 0x2222222222222222, "DR1 after exits");
    expect_equal(read_dr<2>(), 0x3333333333333333, "DR2 after exits");
    expect_equal(read_dr<3>(), 0x4444444444444444, "DR3 after exits");

    auto const cr4 = read_cr4();
    write_cr4(cr4 | 8); // DE
    expect_exception(vector::undefined, [] { (void)read_dr<4>(); }, "DR4 with CR4.DE");
    write_cr4(cr4 & ~u64{8});
    expect_equal(read_dr<4>(), read_dr<6>(), "DR4 is DR6 without CR4.DE");
    write_cr4(cr4);
    expect_exception(vector::protection, [] { write_dr<7>(u64{1} << 32); }, "an upper bit of DR7");
    expect_exception(vector::protection, [] { write_dr<6>(u64{1} << 32); }, "an upper bit of DR6");
}
