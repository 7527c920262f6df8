// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: mitigations is of type hv::mitigation_policy
#include "machine_under_test.hpp"

struct machine : sound_machine {
    static constexpr bool mitigations{true};
};
void f() {
    use<machine>();
}
