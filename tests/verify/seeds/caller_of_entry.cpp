// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

// The callers of a function without a leave rule belong to the path.
void (*volatile handler)(){};

extern "C" [[gnu::noinline]] void step() {
    asm volatile("vmrun %%rax" : : "a"(0x1000) : "memory");
}
namespace hv {
template <>
[[gnu::noinline]] void vcpu<int>::run() {
    step();
    handler();
    state = 1;
}
} // namespace hv

auto serve(unsigned long exit) -> bool {
    return exit != 0;
}
