// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_xsave
// judges: x87, MMX and SSE registers, their control words and status survive exits and interrupts.
#include "devices.hpp"

using namespace payload;

namespace {
alignas(16) u8 before[512], after[512];

void store(u8* area) {
    asm volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}
void load(u8 const* area) {
    asm volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}
} // namespace

void payload::run() {
    pic::initialise();
    set_handler(pic::first_vector, [](frame&) { pic::end(0); });
    asm volatile("fninit");
    store(before);
    // Patterns for eight x87 and sixteen SSE registers; other control words; all x87 registers in use.
    for (unsigned i{32}; i != 32 + 8 * 16 + 16 * 16; ++i)
        before[i] = static_cast<u8>(i * 37 + 11);
    for (unsigned r{}; r != 8; ++r)
        for (unsigned i{10}; i != 16; ++i)
            before[32 + 16 * r + i] = 0;           // ten bytes each
    *reinterpret_cast<u16*>(before) = 0x0f7f;      // control word: round to zero, 64 bits, all masked
    before[4] = 0xff;                              // tags
    *reinterpret_cast<u32*>(before + 24) = 0x7f80; // MXCSR: round to zero
    load(before);

    pit::start(0, 2, pit::frequency / 1000);
    pic::unmask(0);
    for (unsigned i{}; i != 300; ++i) {
        (void)cpuid(0);
        out8(0x80, 0);
        (void)lapic::read(lapic::version);
        if (i % 30 == 0)
            wait_for_interrupt();
    }
    pit::stop();
    store(after);
    for (unsigned i{}; i != 32 + 8 * 16 + 16 * 16; ++i)
        if (i < 6 or (i >= 24 and i < 28) or i >= 32)
            expect_equal(after[i], before[i], "a byte of the FPU's state");
}
