// SPDX-License-Identifier: BSD-2-Clause

// The machine of one vCPU on the host that has one processor; or, as SEED_PARALLEL, on the other.
unsigned long volatile state{};
unsigned long held{};
[[gnu::noinline]] auto serve(unsigned long exit) -> bool;

namespace hv {

namespace bare {
struct host {};
struct parallel_host {};

struct local_apic {
    [[gnu::noinline]] static void send(unsigned long to) { state = to; }
};
} // namespace bare

struct machine {};

template <typename Machine, typename Host>
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

auto serve(unsigned long exit) -> bool {
#ifdef SEED_LOCK
    __atomic_fetch_or(&held, exit, __ATOMIC_RELAXED);
#endif
#ifdef SEED_SPIN
    while (__atomic_load_n(&held, __ATOMIC_RELAXED) == exit)
        asm volatile("pause");
#endif
    return exit > 4;
}

#ifdef SEED_TRAMPOLINE
extern "C" void hv_bare_trampoline() {}
#endif

extern "C" void _start() {
#ifdef SEED_MESSAGE
    hv::bare::local_apic::send(1); // before the first entry: it may not be in the image at all
#endif
#ifdef SEED_PARALLEL
    hv::vcpu<hv::machine, hv::bare::parallel_host>::run();
#else
    hv::vcpu<hv::machine, hv::bare::host>::run();
#endif
    for (;;)
        asm volatile("hlt");
}
