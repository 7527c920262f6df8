// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_variant pc_vmx_apicv
// judges: where CPUID offers x2APIC it works and its transitions are checked; where it does not, its MSRs raise #GP.
// reference: no, QEMU reads the MSRs of an x2APIC that it does not have.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u64 on{1u << 11}, x2{1u << 10};
constexpr u32 msr(u64 offset) {
    return static_cast<u32>(0x800 + (offset >> 4));
}

void refuses(u32 index, u64 value, char const* what) {
    expect_exception(vector::protection, [=] { wrmsr(index, value); }, what);
}
} // namespace

void payload::run() {
    lapic::enable();
    auto const base = rdmsr(lapic::base_msr);
    expect_exception(vector::protection, [] { (void)rdmsr(msr(lapic::id)); }, "x2APIC registers in xAPIC mode");
    if ((cpuid(1).ecx >> 21 & 1) == 0) {
        refuses(lapic::base_msr, base | x2, "x2APIC mode where CPUID does not offer it");
        refuses(msr(lapic::tpr), 0, "x2APIC registers where there is no x2APIC");
        return;
    }
    set_handler(0x40, [](frame&) { wrmsr(msr(lapic::eoi), 0); });
    refuses(lapic::base_msr, (base & ~on) | x2, "x2APIC mode of an APIC that is off");
    wrmsr(lapic::base_msr, base | x2);
    expect_equal(rdmsr(lapic::base_msr), base | x2, "x2APIC mode reads back");
    expect_equal(rdmsr(msr(lapic::id)), cpuid(1).ebx >> 24, "the id");
    expect_equal(rdmsr(msr(lapic::version)) & 0xff & ~u64{0xf}, 0x10, "the version");
    wrmsr(msr(lapic::svr), 0x1ff);

    lapic::write(lapic::tpr, 0x50);
    expect_equal(lapic::read(lapic::tpr), 0xffffffff, "the registers have left memory");
    expect_equal(rdmsr(msr(lapic::tpr)), 0, "a write to where they were");

    wrmsr(0x83f, 0x40); // self IPI
    sti();
    expect(wait_until(100, [] { return count_of(0x40) == 1; }), "an interrupt to itself");
    cli();
    wrmsr(msr(lapic::icr_low), rdmsr(msr(lapic::id)) << 32 | 0x40);
    sti();
    expect(wait_until(100, [] { return count_of(0x40) == 2; }), "an interrupt by the 64-bit command register");
    cli();

    refuses(msr(lapic::id), 0, "the id is read-only");
    refuses(msr(lapic::version), 0, "the version is read-only");
    refuses(msr(lapic::eoi), 1, "EOI takes only 0");
    refuses(msr(lapic::esr), 1, "the error status takes only 0");
    refuses(msr(lapic::tpr), 0x100, "a reserved bit of TPR");
    expect_exception(vector::protection, [] { (void)rdmsr(msr(lapic::eoi)); }, "EOI is write-only");
    expect_exception(vector::protection, [] { (void)rdmsr(0x83f); }, "self IPI is write-only");
    expect_exception(
        vector::protection, [] { (void)rdmsr(msr(lapic::icr_high)); }, "there is no upper command register");
    refuses(lapic::base_msr, base, "from x2APIC mode straight to xAPIC mode");
    wrmsr(lapic::base_msr, base & ~on);
    wrmsr(lapic::base_msr, base);
    expect_equal(lapic::read(lapic::version) >> 4 & 0xf, 1, "xAPIC mode again");
}
