// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

namespace hv {
// The rules file trusts functions of this name with INT 2, and with no other vector.
[[gnu::noinline]] void forward_nmi() {
    asm volatile("int $2");
}
} // namespace hv

auto serve(unsigned long exit) -> bool {
    hv::forward_nmi();
    return exit != 0;
}
