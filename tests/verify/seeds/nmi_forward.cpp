// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

namespace hv::backends::vmx {
// The rules file trusts this function with INT 2, and with no other vector.
struct world_switch {
    [[gnu::noinline]] static void forward_nmi() {
#ifdef SEED_OTHER
        asm volatile("int $3");
#else
        asm volatile("int $2");
#endif
    }
};
} // namespace hv::backends::vmx

auto serve(unsigned long exit) -> bool {
    hv::backends::vmx::world_switch::forward_nmi();
    return exit != 0;
}
