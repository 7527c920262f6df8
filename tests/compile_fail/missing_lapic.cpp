// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: an ioapic needs a lapic
#include "machine_under_test.hpp"

#include <hv/devices/ioapic.hpp>
struct machine : sound_machine {
    using devices = hv::device_set<hv::ioapic>;
};
void f() {
    use<machine>();
}
