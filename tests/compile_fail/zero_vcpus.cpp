// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a machine has at least one vCPU
#include "machine_under_test.hpp"

struct machine : sound_machine {
    static constexpr unsigned max_vcpus{0};
};
void f() {
    use<machine>();
}
