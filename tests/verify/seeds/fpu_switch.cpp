// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

unsigned char area[512];

namespace hv {
// The rules file trusts functions of this name with FPU state.
[[gnu::noinline]] void fpu_switch() {
    asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}
} // namespace hv

auto serve(unsigned long exit) -> bool {
    hv::fpu_switch();
    return exit != 0;
}
