// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The shape of every image: main calls run, run calls enter until an exit is not served, enter executes VMRUN. Each
// seed brings its own `serve`.
extern unsigned long volatile state;
[[gnu::noinline]] auto serve(unsigned long exit) -> bool;

namespace hv {

struct machine {};

template <typename Machine>
struct vcpu {
    [[gnu::noinline]] static auto enter() -> unsigned long {
        unsigned long exit{0x1000};
        asm volatile("push %%rbp\n\tpush %%rbx\n\tvmrun %%rax\n\tpop %%rbx\n\tpop %%rbp"
                     : "+a"(exit)
                     :
                     : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
        return exit + state;
    }
    [[gnu::noinline]] static void run() {
        while (serve(enter()))
            state = state + 1;
    }
};

} // namespace hv
