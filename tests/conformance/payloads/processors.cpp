// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 2
// judges: INIT and SIPI start the second processor in real mode at the vector's page; INIT takes it back.
#include "processors.hpp"

using namespace payload;

// Copied to 0x8000: stores its CS, counts up a word, and halts.
asm(R"(
        .text
        .global second_start, second_end
        .code16
second_start:
        cli
        mov %cs, %ax
        mov %ax, %ds
        mov %ax, second_cs - second_start
        lock incl second_alive - second_start
1:      hlt
        jmp 1b
        .balign 4
second_cs: .long 0
second_alive: .long 0
second_end:
        .code64
)");
extern "C" {
extern payload::u8 second_start[], second_end[], second_cs[], second_alive[];
}

void payload::run() {
    lapic::enable();
    constexpr u64 page{0x8000};
    auto* const to = reinterpret_cast<u8 volatile*>(page);
    for (u64 i{}; i != static_cast<u64>(second_end - second_start); ++i)
        to[i] = second_start[i];
    auto const alive = reinterpret_cast<u32 volatile*>(page + static_cast<u64>(second_alive - second_start));
    auto const segment = reinterpret_cast<u32 volatile*>(page + static_cast<u64>(second_cs - second_start));
    auto const other = lapic::own_id() ^ 1;

    lapic::send(0x4500, other); // INIT
    pass(10);
    expect_equal(*alive, 0, "INIT alone starts nothing");
    lapic::send(0x4608, other); // SIPI, page 8
    expect(wait_for(500, [=] { return *alive == 1; }), "the second processor runs after SIPI");
    expect_equal(*segment & 0xffff, 0x800, "its CS");
    lapic::send(0x4608, other); // a second SIPI is ignored
    pass(5);
    expect_equal(*alive, 1, "a second SIPI does nothing");

    // INIT takes it back, SIPI starts it anew.
    lapic::send(0x4500, other);
    pass(10);
    auto const before = *alive;
    lapic::send(0xc4608); // to all but this one
    expect(wait_for(500, [=] { return *alive == before + 1; }), "it starts again after INIT and SIPI");
}
