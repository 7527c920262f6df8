// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a fault while an exception is delivered comes after it or makes a double fault, by the classes of the two.
#include "gates.hpp"

using namespace payload;

namespace {
constexpr u16 gone{code16}; // a selector whose descriptor is absent

first_exception const all[]{
    {"#DE", vector::divide_error, severity::contributory,
     [] {
         asm volatile("xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx", "cc");
     }},
    {"#BP", vector::breakpoint, severity::benign, [] { asm volatile("int3"); }},
    {"#UD", vector::undefined, severity::benign, [] { asm volatile("ud2"); }},
    {"#UD of VMCALL", vector::undefined, severity::benign, [] { asm volatile(".byte 0x0f, 0x01, 0xc1"); }},
    {"#NM", vector::no_fpu, severity::benign, [] { asm volatile("fnop"); }},
    {"#NP", vector::not_present, severity::contributory, [] { asm volatile("mov %0, %%fs" ::"r"(gone)); }},
    {"#GP", vector::protection, severity::contributory, [] { (void)*reinterpret_cast<u8 volatile*>(u64{1} << 47); }},
    {"#PF", vector::page_fault, severity::page_fault, [] { (void)*reinterpret_cast<u8 volatile*>(hole); }},
};
} // namespace

void payload::run() {
    auto const cr0 = read_cr0();
    descriptors[gone / 8] &= ~(u64{1} << 47);
    entry_of(hole) = 0;
    invlpg(hole);
    write_cr0(cr0 | 8); // TS, for #NM
    for (auto const& first : all)
        judge_deliveries(first);
    write_cr0(cr0);
}
