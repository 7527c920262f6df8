// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: 32-bit code under a 64-bit kernel exits like other code, with 32-bit registers and addresses.
#include "devices.hpp"

using namespace payload;

// Runs in compatibility mode: CPUID, port, MSR and device accesses, then back.
asm(R"(
        .text
        .global run_compatible
run_compatible:
        push %rbx
        push %rbp
        movl $1f, jump32
        movw $0x18, jump32 + 4
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        ljmp *jump32
        .code32
1:      mov $0, %eax
        cpuid
        mov %ebx, compatible_vendor
        mov $0xfee00030, %esi
        mov (%esi), %eax
        mov %eax, compatible_version
        mov $0x12345678, %eax
        mov %eax, 0xfee00380
        mov $0xc0000080, %ecx
        rdmsr
        mov %eax, compatible_efer
        mov $0x40, %al
        out %al, $0x70
        mov $0x71, %edx
        mov $compatible_bytes, %edi
        mov $3, %ecx
        rep insb
        mov %edi, compatible_edi
        mov %ecx, compatible_ecx
        mov $compatible_bytes, %esi
        mov $0x80, %edx
        mov $3, %ecx
        rep outsb
        ljmp $0x08, $2f
        .code64
2:      pop %rbp
        pop %rbx
        ret
        .bss
        .balign 8
jump32: .skip 8
        .global compatible_vendor, compatible_version, compatible_efer, compatible_edi, compatible_ecx, compatible_bytes
compatible_vendor: .skip 4
compatible_version: .skip 4
compatible_efer: .skip 4
compatible_edi: .skip 4
compatible_ecx: .skip 4
compatible_bytes: .skip 4
        .text
)");
extern "C" {
void run_compatible();
extern payload::u32 volatile compatible_vendor, compatible_version, compatible_efer, compatible_edi, compatible_ecx;
extern payload::u8 volatile compatible_bytes[4];
}

void payload::run() {
    lapic::enable();
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    auto const old = rtc::read(0x40);
    rtc::write(0x40, 0x5a);
    run_compatible();
    expect_equal(compatible_vendor, cpuid(0).ebx, "CPUID");
    expect_equal(compatible_version, lapic::read(lapic::version), "a device read");
    expect_equal(lapic::read(lapic::initial_count), 0x12345678, "a device write");
    expect_equal(compatible_efer, rdmsr(0xc0000080) & 0xffffffff, "RDMSR");
    expect_equal(u32{compatible_bytes[0]} | u32{compatible_bytes[1]} << 8 | u32{compatible_bytes[2]} << 16, 0x5a5a5a,
                 "REP INSB");
    expect_equal(compatible_bytes[3], 0, "no byte more");
    expect_equal(compatible_edi, reinterpret_cast<u64>(&compatible_bytes[3]), "EDI");
    expect_equal(compatible_ecx, 0, "ECX");
    rtc::write(0x40, old);
    lapic::write(lapic::initial_count, 0);
}
