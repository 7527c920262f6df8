// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: apic_policy::virtualised needs a backend that runs local APICs
#include "machine_under_test.hpp"

struct machine : sound_machine {
    static constexpr hv::apic_policy apic{hv::apic_policy::virtualised};
};
void f() {
    use<machine>();
}
