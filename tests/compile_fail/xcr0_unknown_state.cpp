// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: xcr0_allowed names a state that guests cannot have
#include "machine_under_test.hpp"

struct machine : sound_machine {
    static constexpr bool hide_xsave{false};
    static constexpr std::uint64_t xcr0_allowed{0x207};
};
void f() {
    use<machine>();
}
