// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: save_restore is on, but a device of this machine has no saved form
#include "machine_under_test.hpp"

struct machine : sound_machine {
    static constexpr bool save_restore{true};
};
void f() {
    use<machine>();
}
