// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the HPET takes reads and writes of 1, 2, 4 and 8 bytes at every address of its range without harm.
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
    auto const capabilities = hpet::read(hpet::capabilities);
    sweep<u8>(hpet::base, 0x400);
    sweep<u16>(hpet::base, 0x400);
    sweep<u32>(hpet::base, 0x400);
    sweep<u64>(hpet::base, 0x400);
    expect_equal(hpet::read(hpet::capabilities), capabilities, "the capabilities");
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::counter, 5);
    expect_equal(hpet::read(hpet::counter), 5, "the counter stands");
    hpet::write(hpet::configuration, 1);
    expect(wait_until(100, [] { return hpet::read(hpet::counter) > 1000; }), "the counter runs");
}
