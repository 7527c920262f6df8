// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: tens of thousands of exceptions in a row all arrive, with timer interrupts between them.
#include "devices.hpp"

using namespace payload;

void payload::run() {
    lapic::enable();
    set_handler(0x40, lapic::acknowledge);
    lapic::write(lapic::divide, 3);
    lapic::write(lapic::lvt_timer, lapic::periodic | 0x40);
    lapic::write(lapic::initial_count, 10'000);
    set_handler(vector::undefined, [](frame& f) { f.rip += 2; });
    set_handler(vector::page_fault, [](frame& f) { f.rip += 3; });
    entry_of(0x30000000) = 0;
    invlpg(0x30000000);
    sti();
    for (unsigned i{}; i != 20'000; ++i) {
        asm volatile("ud2");
        asm volatile(".byte 0x88, 0x40, 0x00" ::"a"(u64{0x30000000}) : "memory"); // mov [rax + 0], al
    }
    cli();
    lapic::write(lapic::initial_count, 0);
    expect_equal(count_of(vector::undefined), 20'000, "#UD");
    expect_equal(count_of(vector::page_fault), 20'000, "#PF");
    expect(count_of(0x40) != 0, "timer interrupts");
}
