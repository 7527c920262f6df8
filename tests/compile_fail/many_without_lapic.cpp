// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: several vCPUs need a lapic
#include "machine_under_test.hpp"

struct machine : sound_machine {
    static constexpr unsigned max_vcpus{2};
};
void f() {
    use<machine>();
}
