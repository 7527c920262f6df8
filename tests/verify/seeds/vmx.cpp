// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

// VMLAUNCH goes on at HOST_RIP, which only a symbol can tell.
asm(".text\n.type launch, @function\nlaunch: push %rbp\n vmlaunch\n pop %rbp\n ret\n"
#ifdef SEED_CLEAN
    ".globl hv_vm_exit_entry\nhv_vm_exit_entry: pop %rbp\n ret\n"
#endif
    ".size launch, . - launch");
extern "C" void launch();

auto serve(unsigned long exit) -> bool {
    return exit != 0;
}
namespace hv {
template <>
[[gnu::noinline]] void vcpu<int>::run() {
    launch();
    state = 1;
}
} // namespace hv
