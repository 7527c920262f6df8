// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a device declares an empty or impossible range
#include "machine_under_test.hpp"

struct too_far : some_device<0> {
    static constexpr std::array ports{hv::port_range{.first = 0xffff, .count = 2}};
};
struct machine : sound_machine {
    using devices = hv::device_set<too_far>;
};
void f() {
    use<machine>();
}
