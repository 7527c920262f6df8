// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: an exception that a hypervisor raises combines with a fault of its delivery as the processor's own does.
// reference: no, QEMU has neither #DB for a guarded debug register nor #GP for every MSR.
// not on qemu-svm: QEMU forgets which exception EVENTINJ delivers, so that a fault of its delivery never doubles.
#include "devices.hpp"
#include "gates.hpp"

using namespace payload;

namespace {
constexpr u64 idle7{0x400}, general_detect{0x2000};

first_exception const all[]{
    {"#DB of a guarded debug register", vector::debug, severity::benign,
     [] { asm volatile("mov %0, %%dr7; mov %%dr3, %%rax" ::"r"(idle7 | general_detect)
                       : "rax"); }},
    {"#GP of RDMSR", vector::protection, severity::contributory, [] { (void)rdmsr(0x12345678); }},
    {"#PF of a device access", vector::page_fault, severity::page_fault,
     [] {
         u64 from{hpet::base}, to{hole};
         asm volatile("movsq" : "+S"(from), "+D"(to)::"memory");
     }},
};
} // namespace

void payload::run() {
    entry_of(hole) = 0;
    invlpg(hole);
    for (auto const& first : all) {
        judge_deliveries(first);
        asm volatile("mov %0, %%dr7" ::"r"(idle7));
    }
}
