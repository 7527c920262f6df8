// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

unsigned char area[512];

namespace hv::bare {
// The rules file trusts functions of this name with FPU state, and not those that speak of it.
struct fpu_switch {
    [[gnu::noinline]] static void load() { asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory"); }
};
[[gnu::noinline]] void other(fpu_switch) {
    asm volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}
} // namespace hv::bare

auto serve(unsigned long exit) -> bool {
    hv::bare::fpu_switch::load();
#ifdef SEED_OTHER
    hv::bare::other({});
#endif
    return exit != 0;
}
