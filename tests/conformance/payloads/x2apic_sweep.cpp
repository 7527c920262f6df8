// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: of MSRs 800h-BFFh x2APIC mode has those of the manual's table, each its own way; xAPIC mode has none.
// also on: pc_vmx_apicv
// SDM Vol. 3A, Table "Local APIC Register Address Map Supported by x2APIC".
// reference: no, QEMU reads the MSRs of an x2APIC that it does not have.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u32 first{0x800}, end{0xc00};

auto within(u32 n, u32 low, u32 high) -> bool {
    return n >= low and n <= high;
}
auto is_readable(u32 n) -> bool {
    return n == 0x802 or n == 0x803 or n == 0x808 or n == 0x80a or n == 0x80d or within(n, 0x80f, 0x828) or
           n == 0x830 or within(n, 0x832, 0x839) or n == 0x83e;
}
auto is_writable(u32 n) -> bool {
    return n == 0x808 or n == 0x80b or n == 0x80f or n == 0x828 or n == 0x830 or within(n, 0x832, 0x838) or
           n == 0x83e or n == 0x83f;
}
/// CMCI and the thermal and performance entries are there or not by model.
auto is_optional(u32 n) -> bool {
    return n == 0x82f or n == 0x833 or n == 0x834;
}
auto read_vector(u32 n) -> unsigned {
    return attempt([n] { (void)rdmsr(n); }).vector;
}
auto write_vector(u32 n, u64 value) -> unsigned {
    return attempt([=] { wrmsr(n, value); }).vector;
}
void judge(bool exists, u32 n, unsigned got, char const* what) {
    if (got == (exists ? none : vector::protection))
        return;
    print_hex(n);
    print(": ");
    expect_equal(got, exists ? none : vector::protection, what);
}
} // namespace

void payload::run() {
    for (u32 n{first}; n != end; ++n) {
        judge(false, n, read_vector(n), "a read in xAPIC mode");
        judge(false, n, write_vector(n, 0), "a write in xAPIC mode");
    }
    if ((cpuid(1).ecx >> 21 & 1) == 0)
        return;
    auto const base = rdmsr(lapic::base_msr);
    wrmsr(lapic::base_msr, base | 1u << 10);
    wrmsr(0x80f, 0x1ff);
    for (u32 n{first}; n != end; ++n) {
        if (is_optional(n))
            continue;
        judge(is_readable(n), n, read_vector(n), "a read in x2APIC mode");
        if (n == 0x830 or n == 0x83f)
            continue; // would send something
        auto const value = is_readable(n) ? rdmsr(n) : 0;
        auto const same = n == 0x828 ? 0 : value;
        judge(is_writable(n), n, write_vector(n, same), "writing back what was read");
        // Bits 63:32 are reserved in all registers but the interrupt command.
        judge(false, n, write_vector(n, same | u64{1} << 32), "an upper half");
        if (is_readable(n))
            expect_equal(rdmsr(n), value, "the register is as it was");
    }
    judge(false, 0x830, write_vector(0x830, 1u << 13), "a reserved bit of the interrupt command");
    judge(false, 0x83f, write_vector(0x83f, 0x100), "a reserved bit of the self IPI");
    judge(false, 0x83e, write_vector(0x83e, 4), "a reserved bit of the divide configuration");
    judge(false, 0x832, write_vector(0x832, u64{3} << 17), "the reserved mode of the timer");
    wrmsr(lapic::base_msr, base & ~u64{0xc00});
    wrmsr(lapic::base_msr, base);
}
