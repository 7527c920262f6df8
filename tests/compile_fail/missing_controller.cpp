// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a device drives an interrupt line, but the machine has neither a pic_8259 nor an ioapic
#include "machine_under_test.hpp"

struct driver : some_device<0> {
    static constexpr std::array lines{hv::irq_line{5}};
};
struct machine : sound_machine {
    using devices = hv::device_set<driver>;
};
void f() {
    use<machine>();
}
