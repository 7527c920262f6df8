// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a member of a device_set is not an hv::device
#include "machine_under_test.hpp"

struct nothing {};
struct machine : sound_machine {
    using devices = hv::device_set<some_device<0>, nothing>;
};
void f() {
    use<machine>();
}
