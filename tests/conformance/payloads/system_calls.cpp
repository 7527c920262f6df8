// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant
// smoke: yes
// judges: SYSCALL and SYSRET cross the rings, privilege holds user code, exits from ring 3 are like others.
#include "payload.hpp"

using namespace payload;

namespace {
alignas(4096) u8 code[4096], stack[4096];

/// Ends user code: the exception that its UD2 raised is what attempt_user answers.
auto run_user(u8 const* bytes, unsigned count) -> caught {
    for (unsigned i{}; i != 64; ++i)
        static_cast<u8 volatile&>(code[i]) = i < count ? bytes[i] : u8{0x0b};
    if (count < 63) {
        static_cast<u8 volatile&>(code[count]) = 0x0f;
        static_cast<u8 volatile&>(code[count + 1]) = 0x0b;
    }
    return attempt_user(reinterpret_cast<u64>(code), reinterpret_cast<u64>(stack) + 4096);
}
} // namespace

// The kernel's side: R11 and RCX hold what SYSRET needs.
asm(R"(
        .text
        .global syscall_entry
syscall_entry:
        incq syscall_count
        sysretq
        .bss
        .global syscall_count
syscall_count:
        .quad 0
        .text
)");
extern "C" {
void syscall_entry();
extern payload::u64 volatile syscall_count;
}

void payload::run() {
    allow_user(reinterpret_cast<u64>(code));
    allow_user(reinterpret_cast<u64>(stack));
    wrmsr(0xc0000081, u64{0x18} << 48 | u64{code64} << 32); // user CS is 18h + 16, SS 18h + 8
    wrmsr(0xc0000082, reinterpret_cast<u64>(&syscall_entry));
    wrmsr(0xc0000084, 0x300);

    u8 const three_calls[]{0x0f, 0x05, 0x0f, 0x05, 0x0f, 0x05};
    auto const done = run_user(three_calls, sizeof three_calls);
    expect_equal(done.vector, vector::undefined, "user code ends at its UD2");
    expect_equal(done.rip, reinterpret_cast<u64>(code) + 6, "behind the system calls");
    expect_equal(syscall_count, 3, "system calls");

    u8 const query[]{0xb8, 0, 0, 0, 0, 0x0f, 0xa2}; // mov eax, 0; cpuid
    auto const queried = run_user(query, sizeof query);
    expect_equal(queried.vector, vector::undefined, "CPUID in ring 3");
    expect_equal(queried.rip, reinterpret_cast<u64>(code) + 7, "behind CPUID");

    struct denied {
        char const* name;
        u8 bytes[4];
        unsigned size;
    };
    static denied const all[]{
        {"HLT", {0xf4}, 1},
        {"CLI", {0xfa}, 1},
        {"IN", {0xe4, 0x71}, 2},
        {"OUT", {0xe6, 0x80}, 2},
        {"RDMSR", {0x0f, 0x32}, 2},
        {"WRMSR", {0x0f, 0x30}, 2},
        {"MOV from CR0", {0x0f, 0x20, 0xc0}, 3},
        {"MOV to CR3", {0x0f, 0x22, 0xd8}, 3},
        {"MOV from DR7", {0x0f, 0x21, 0xf8}, 3},
        {"CLTS", {0x0f, 0x06}, 2},
        {"INVLPG", {0x0f, 0x01, 0x3c, 0x24}, 4},
        {"WBINVD", {0x0f, 0x09}, 2},
        {"INVD", {0x0f, 0x08}, 2},
        {"LGDT", {0x0f, 0x01, 0x14, 0x24}, 4},
        {"SYSRET", {0x48, 0x0f, 0x07}, 3},
    };
    for (auto const& d : all) {
        auto const got = run_user(d.bytes, d.size);
        expect_equal(got.vector, vector::protection, d.name);
        expect_equal(got.rip, reinterpret_cast<u64>(code), d.name);
    }

    // A device page is the kernel's: mov eax, 0xfee00030; mov eax, [rax].
    u8 const touch[]{0xb8, 0x30, 0, 0xe0, 0xfe, 0x8b, 0};
    auto const touched = run_user(touch, sizeof touch);
    expect_equal(touched.vector, vector::page_fault, "a device read in ring 3");
    expect_equal(touched.error_code, 5, "its error code");
    expect_equal(touched.cr2, 0xfee00030, "its address");
}
