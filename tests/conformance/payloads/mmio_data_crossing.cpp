// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: an access that begins in memory and ends in a device, or the other way round, reaches both, byte by byte.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    alignas(4096) static u8 memory[2 * 4096];
    auto const first = reinterpret_cast<u64>(memory), second = first + 4096;
    auto& a = entry_of(first);
    auto& b = entry_of(second);
    auto const memory_a = a, memory_b = b;
    auto const show = [&](u64 entry_a, u64 entry_b) {
        a = entry_a;
        b = entry_b;
        invlpg(first);
        invlpg(second);
    };
    auto const device = hpet::base | page::present | page::writable;
    auto const capabilities = hpet::read(hpet::capabilities);

    show(memory_a, device);
    mmio_write<u32>(second - 4, 0x11223344);
    expect_equal(mmio_read<u64>(second - 4), 0x11223344 | capabilities << 32, "memory, then a device");
    mmio_write<u64>(second - 4, 0x5566778899aabbcc); // the capabilities cannot be written
    expect_equal(mmio_read<u32>(second - 4), 0x99aabbcc, "what memory got");
    expect_equal(hpet::read(hpet::capabilities), capabilities, "the capabilities");

    show(device, memory_b);
    mmio_write<u32>(second, 0x55667788);
    expect_equal(mmio_read<u64>(second - 4) >> 32, 0x55667788, "a device, then memory");
    mmio_write<u64>(second - 4, 0x0123456789abcdef);
    expect_equal(mmio_read<u32>(second), 0x01234567, "what memory got of it");

    show(memory_a, memory_b);
}
