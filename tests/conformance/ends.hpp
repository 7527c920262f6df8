// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "processors.hpp"

/// The last processor ends the machine.
namespace payload {

namespace detail {

inline shared_count ready;
inline void (*last_act)();

/// What the others do meanwhile, by their number: with interrupts off, halted, computing, and halted for ever.
inline void be_busy() {
    ready.add();
    lapic::enable();
    while (true)
        switch (own_number() % 4) {
        case 0:
            cli();
            (void)cpuid(0); // an exit: in Bochs a stay that began with interrupts off ends by nothing else
            pause();
            break;
        case 1:
            asm volatile("sti; hlt");
            break;
        case 2:
            sti();
            pause();
            break;
        default:
            asm volatile("cli; hlt");
        }
}

inline void be_last() {
    ready.add();
    pass(2);
    last_act();
    pass(50);
    fail("the machine goes on");
    finish();
}

} // namespace detail

/// Has the last processor do `act`, which ends the machine, while the others do what processors do.
inline void end_by(void (*act)()) {
    (void)tsc_per_ms();
    detail::last_act = act;
    auto const last = processor_count() - 1;
    for (u32 id{1}; id <= last; ++id) {
        start_processor(id, id == last ? detail::be_last : detail::be_busy);
        if (id != last and not detail::ready.reaches(id))
            return fail("a processor does not start");
    }
    detail::be_busy();
}

} // namespace payload
