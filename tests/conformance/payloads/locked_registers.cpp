// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// storm: yes
// judges: Locked read-modify-writes of one register of a device by several processors lose nothing.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 times{300};
constexpr u64 reg{hpet::base + 0x108};
shared_count ready, go, done;

void work() {
    for (u32 i{}; i != times; ++i) {
        if (i % 3 == 0)
            asm volatile("lock incl (%0)" ::"r"(reg) : "memory");
        else if (i % 3 == 1)
            asm volatile("lock addl $1, (%0)" ::"r"(reg) : "memory");
        else {
            u32 one{1};
            asm volatile("lock xaddl %0, (%1)" : "+r"(one) : "r"(reg) : "memory");
        }
    }
    done.add();
}
void other() {
    lapic::enable();
    ready.add();
    while (go.get() == 0)
        pause();
    work();
    while (true)
        asm volatile("cli; hlt");
}

} // namespace

void payload::run() {
    lapic::enable();
    hpet::write(hpet::configuration, 0);
    hpet::write(hpet::configuration_of(0), 0);
    hpet::write(hpet::comparator_of(0), 0);
    if (not start_all(other, ready))
        return;
    go.set(1);
    work();
    expect(done.reaches(processor_count(), 20000), "all come to the end");
    expect_equal(mmio_read<u32>(reg), times * processor_count(), "what was added in all");
}
