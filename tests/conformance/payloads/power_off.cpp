// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// says: hv: stopped: power off
// judges: SLP_TYP 5 with SLP_EN in the PM1 control register powers the machine off.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    auto const control = in16(pm::control);
    expect_equal(control & 1, 1, "SCI_EN: the machine is in ACPI mode");
    out16(pm::control, static_cast<u16>(5u << 10 | 1)); // no SLP_EN: nothing happens
    expect_equal(in16(pm::control) & 1, 1, "still running");
    out16(pm::control, static_cast<u16>(5u << 10 | 1 << 13 | 1));
    wait_ms(10);
    out16(pm::control, static_cast<u16>(1u << 13 | 1)); // QEMU's S5 is type 0
    wait_ms(10);
    fail("the machine is still on");
}
