// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// smoke: yes
// judges: an instruction that reaches a device works wherever its bytes lie, across pages and at each offset.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    lapic::enable();
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    constexpr u64 count{lapic::base + lapic::initial_count};
    alignas(4096) static u8 code[2 * 4096];
    // mov dword [rdi + 0x00000380], 0x11223344 (10 bytes); mov ecx, [rdi + 0x00000380] (6); ret
    constexpr u8 instructions[]{0xc7, 0x87, 0x80, 0x03, 0,    0, 0x44, 0x33, 0x22,
                                0x11, 0x8b, 0x8f, 0x80, 0x03, 0, 0,    0xc3};
    // The two pages are not neighbours in physical memory: they change places.
    auto const first = reinterpret_cast<u64>(code), second = first + 4096;
    auto& a = entry_of(first);
    auto& b = entry_of(second);
    auto const swap = [&] {
        auto const keep = a;
        a = b;
        b = keep;
        invlpg(first);
        invlpg(second);
    };
    for (unsigned round{}; round != 2; ++round) {
        for (unsigned behind{}; behind <= sizeof instructions; ++behind) {
            auto const at = 4096 - behind;
            for (unsigned i{}; i != sizeof instructions; ++i)
                *static_cast<u8 volatile*>(&code[at + i]) = instructions[i];
            mmio_write<u32>(count, 0);
            u64 rcx{};
            asm volatile("call *%1" : "=&c"(rcx) : "r"(first + at), "D"(lapic::base) : "memory");
            expect_equal(mmio_read<u32>(count), 0x11223344, "what a crossing instruction wrote");
            expect_equal(rcx, 0x11223344, "what a crossing instruction read");
        }
        swap();
    }
    swap();
    swap();

    // The second page is absent: a page fault of the fetch, not of the device.
    b &= ~page::present;
    invlpg(second);
    for (unsigned i{}; i != 4; ++i)
        *static_cast<u8 volatile*>(&code[4092 + i]) = instructions[i];
    auto const fault = attempt([first] { asm volatile("call *%0" ::"r"(first + 4092), "D"(lapic::base) : "memory"); });
    expect_equal(fault.vector, vector::page_fault, "an instruction whose second half is absent");
    expect_equal(fault.cr2, second, "CR2");
    expect_equal(fault.rip, first + 4092, "RIP");
    mmio_write<u32>(count, 0);
}
