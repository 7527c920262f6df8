// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: tsc_frequency needs tsc_policy::scaled or trapped
#include "machine_under_test.hpp"

struct machine : sound_machine {
    static constexpr std::uint64_t tsc_frequency{2'000'000'000};
};
void f() {
    use<machine>();
}
