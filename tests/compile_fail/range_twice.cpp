// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a device declares the same port, address or register twice
#include "machine_under_test.hpp"

struct repeats_itself : some_device<0> {
    static constexpr std::array ports{hv::port_range{.first = 0x70, .count = 4},
                                      hv::port_range{.first = 0x72, .count = 1}};
};
struct machine : sound_machine {
    using devices = hv::device_set<repeats_itself>;
};
void f() {
    hv::hosted::host host{};
    static hv::vm<machine, hv::hosted::host> guest;
    hv::vmm<machine, hv::hosted::host> monitor{host};
    (void)monitor.create(guest);
}
