// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: the instructions of hardware virtualisation do not exist for a guest.
// #UD in ring 0; in ring 3 #UD or #GP, since AMD processors look at the privilege level before the intercept.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    struct instruction {
        char const* name;
        u8 bytes[8];
    };
    static instruction const all[]{{"VMRUN", {0x0f, 0x01, 0xd8}},
                                   {"VMMCALL", {0x0f, 0x01, 0xd9}},
                                   {"VMLOAD", {0x0f, 0x01, 0xda}},
                                   {"VMSAVE", {0x0f, 0x01, 0xdb}},
                                   {"STGI", {0x0f, 0x01, 0xdc}},
                                   {"CLGI", {0x0f, 0x01, 0xdd}},
                                   {"SKINIT", {0x0f, 0x01, 0xde}},
                                   {"INVLPGA", {0x0f, 0x01, 0xdf}},
                                   {"VMCALL", {0x0f, 0x01, 0xc1}},
                                   {"VMLAUNCH", {0x0f, 0x01, 0xc2}},
                                   {"VMRESUME", {0x0f, 0x01, 0xc3}},
                                   {"VMXOFF", {0x0f, 0x01, 0xc4}},
                                   {"VMFUNC", {0x0f, 0x01, 0xd4}},
                                   {"VMREAD", {0x0f, 0x78, 0xc0}},
                                   {"VMWRITE", {0x0f, 0x79, 0xc0}},
                                   {"VMXON", {0xf3, 0x0f, 0xc7, 0x34, 0x24}},
                                   {"VMPTRLD", {0x0f, 0xc7, 0x34, 0x24}},
                                   {"VMCLEAR", {0x66, 0x0f, 0xc7, 0x34, 0x24}},
                                   {"INVEPT", {0x66, 0x0f, 0x38, 0x80, 0x04, 0x24}},
                                   {"INVVPID", {0x66, 0x0f, 0x38, 0x81, 0x04, 0x24}}};
    alignas(4096) static u8 code[4096];
    alignas(4096) static u8 stack[4096];
    allow_user(reinterpret_cast<u64>(code));
    allow_user(reinterpret_cast<u64>(stack));
    for (auto const& i : all) {
        for (unsigned b{}; b != 8; ++b)
            code[b] = i.bytes[b];
        // RAX is a page: some processors check it before the intercept.
        auto const kernel = attempt([] { asm volatile("call *%0" ::"b"(code), "a"(0x100000) : "rcx", "memory"); });
        expect_equal(kernel.vector, vector::undefined, i.name);
        expect_equal(kernel.rip, reinterpret_cast<u64>(code), i.name);
        auto const user = attempt_user(reinterpret_cast<u64>(code), reinterpret_cast<u64>(stack) + 4096);
        expect(user.vector == vector::undefined or user.vector == vector::protection, i.name);
    }
}
