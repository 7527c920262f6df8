// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a device_set names the same device twice
#include "machine_under_test.hpp"

struct machine : sound_machine {
    using devices = hv::device_set<some_device<0>, some_device<0>>;
};
void f() {
    use<machine>();
}
