// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: an interrupt line has two owners in one device_set
#include "machine_under_test.hpp"

template <int Number>
struct driver : some_device<Number> {
    static constexpr std::array lines{hv::irq_line{5}};
};
struct machine : sound_machine {
    using devices = hv::device_set<driver<0>, driver<1>>;
};
void f() {
    use<machine>();
}
