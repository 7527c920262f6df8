// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// smoke: yes
// judges: the MSRs of SYSCALL, SYSENTER, FS, GS, PAT and TSC_AUX keep what is written.
#include "payload.hpp"

using namespace payload;

namespace {

constexpr u32 sysenter_cs{0x174}, sysenter_esp{0x175}, sysenter_eip{0x176}, pat{0x277}, star{0xc0000081},
    lstar{0xc0000082}, cstar{0xc0000083}, fmask{0xc0000084}, fs_base{0xc0000100}, gs_base{0xc0000101},
    kernel_gs_base{0xc0000102}, tsc_aux{0xc0000103};

void keeps(u32 index, u64 value) {
    auto const old = rdmsr(index);
    expect_exception(none, [=] { wrmsr(index, value); }, "a legal write");
    expect_equal(rdmsr(index), value, "what was written is read");
    (void)cpuid(0); // an exit in between
    expect_equal(rdmsr(index), value, "what was written is read after an exit");
    wrmsr(index, old);
}

} // namespace

void payload::run() {
    constexpr u64 high{0xffff800012345678}, low{0x00007fffffffffff};
    keeps(star, 0x0123456789abcdef);
    keeps(fmask, 0x47700);
    u32 const addresses[]{lstar, cstar, fs_base, gs_base, kernel_gs_base, sysenter_esp, sysenter_eip};
    for (auto const index : addresses) {
        keeps(index, high);
        keeps(index, low);
    }
    keeps(sysenter_cs, 0xfff8);
    keeps(pat, 0x0007040600070406);
    keeps(pat, 0x0105000706050400);
    if ((cpuid(0x80000001).edx >> 27 & 1) != 0)
        keeps(tsc_aux, 0xdeadbeef);

    // SWAPGS exchanges two of them, and segment loads reach them.
    wrmsr(gs_base, 0x1111);
    wrmsr(kernel_gs_base, high);
    asm volatile("swapgs" ::: "memory");
    expect_equal(rdmsr(gs_base), high, "GS base after SWAPGS");
    expect_equal(rdmsr(kernel_gs_base), 0x1111, "kernel GS base after SWAPGS");
    asm volatile("mov %0, %%gs" ::"r"(data));
    expect_equal(rdmsr(gs_base), 0, "GS base after a load of GS");
    u64 const word{0x1234567890};
    wrmsr(fs_base, reinterpret_cast<u64>(&word));
    u64 seen{};
    asm volatile("mov %%fs:0, %0" : "=r"(seen)::"memory");
    expect_equal(seen, word, "memory behind FS base");
}
