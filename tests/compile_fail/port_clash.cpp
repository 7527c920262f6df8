// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: two devices of one device_set claim the same I/O port
#include "machine_under_test.hpp"

struct clash : some_device<0> {
    static constexpr std::array ports{hv::port_range{.first = 0x71, .count = 4}};
};
struct machine : sound_machine {
    using devices = hv::device_set<some_device<0>, clash>;
};
void f() {
    use<machine>();
}
