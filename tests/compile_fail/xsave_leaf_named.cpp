// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a CPUID profile names leaf Dh
#include "machine_under_test.hpp"

struct profile {
    static constexpr std::array rules{hv::cpuid_rule{.function = 0}, hv::cpuid_rule{.function = 0xd}};
};
struct machine : sound_machine {
    using cpuid = profile;
    static constexpr bool hide_xsave{false};
};
void f() {
    use<machine>();
}
