// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the local APIC takes reads and writes of 1, 2, 4 and 8 bytes at every address of its range without harm.
// also on: pc_vmx_apicv
#include "devices.hpp"

using namespace payload;

namespace {

template <typename T>
void sweep(u64 base, u64 size) {
    for (u64 at{}; at + sizeof(T) <= size; ++at)
        (void)mmio_read<T>(base + at);
    u64 const values[]{0, ~u64{}, 0x5555555555555555};
    for (auto const value : values)
        for (u64 at{}; at + sizeof(T) <= size; at += at % 16 < 4 ? 1 : 3)
            mmio_write<T>(base + at, static_cast<T>(value));
}

} // namespace

void payload::run() {
    // What the patterns make of the command register: vectors below 16, and INIT with shorthand self. None is sent.
    lapic::enable();
    auto const version = lapic::read(lapic::version);
    sweep<u8>(lapic::base, 0x1000);
    sweep<u16>(lapic::base, 0x1000);
    sweep<u32>(lapic::base, 0x1000);
    sweep<u64>(lapic::base, 0x1000);
    lapic::enable();
    expect_equal(lapic::read(lapic::version), version, "the version");
}
