// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a CPUID profile is not sorted
#include "machine_under_test.hpp"

struct profile {
    static constexpr std::array rules{hv::cpuid_rule{.function = 1}, hv::cpuid_rule{.function = 0}};
};
struct machine : sound_machine {
    using cpuid = profile;
};
void f() {
    use<machine>();
}
