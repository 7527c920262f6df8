// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a machine names its backend
#include "machine_under_test.hpp"

struct machine : hv::default_machine {};
void f() {
    use<machine>();
}
