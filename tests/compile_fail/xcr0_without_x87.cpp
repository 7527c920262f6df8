// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: xcr0_allowed lacks x87
#include "machine_under_test.hpp"

struct machine : sound_machine {
    static constexpr bool hide_xsave{false};
    static constexpr std::uint64_t xcr0_allowed{2};
};
void f() {
    use<machine>();
}
