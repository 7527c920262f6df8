// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: nothing
#include "machine_under_test.hpp"

void f() {
    use<sound_machine>();
}
