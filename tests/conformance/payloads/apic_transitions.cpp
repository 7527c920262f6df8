// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// also on: pc_vmx_apicv
// judges: IA32_APIC_BASE takes the transitions of the manual's diagram, and no other; what each keeps and loses.
// SDM Vol. 3A, "x2APIC State Transitions".
// reference: no, QEMU never switches an APIC on again.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u64 on{1u << 11}, extended{1u << 10}, bootstrap{1u << 8};
u64 base;

enum class mode { off, xapic, x2apic };
constexpr char const* names[]{"off", "xAPIC", "x2APIC"};

void enter(mode m) {
    wrmsr(lapic::base_msr, base & ~(on | extended)); // from everywhere
    if (m != mode::off)
        wrmsr(lapic::base_msr, (base & ~extended) | on);
    if (m == mode::x2apic)
        wrmsr(lapic::base_msr, base | on | extended);
}
void judge(mode from, u64 bits, bool allowed) {
    enter(from);
    auto const before = rdmsr(lapic::base_msr);
    auto const value = (base & ~(on | extended)) | bits;
    auto const got = attempt([value] { wrmsr(lapic::base_msr, value); }).vector;
    if (got != (allowed ? none : vector::protection)) {
        print(names[static_cast<unsigned>(from)]);
        print(" to ");
        expect_equal(got, allowed ? none : vector::protection, bits == 0 ? "off" : bits == on ? "xAPIC" : "x2APIC");
    }
    expect_equal(rdmsr(lapic::base_msr), allowed ? value : before, "IA32_APIC_BASE behind it");
}
} // namespace

void payload::run() {
    base = rdmsr(lapic::base_msr);
    expect_equal(base & (on | extended | bootstrap), on | bootstrap, "xAPIC mode at the start");
    bool const has{(cpuid(1).ecx >> 21 & 1) != 0};
    constexpr mode modes[]{mode::off, mode::xapic, mode::x2apic};
    for (auto const from : modes) {
        if (from == mode::x2apic and not has)
            continue;
        judge(from, 0, true);
        judge(from, on, from != mode::x2apic);
        judge(from, on | extended, has and from != mode::off);
        judge(from, extended, false);
    }
    enter(mode::xapic);
    expect_exception(vector::protection, [] { wrmsr(lapic::base_msr, base | 1); }, "reserved bit 0");
    expect_exception(vector::protection, [] { wrmsr(lapic::base_msr, base | u64{1} << 9); }, "reserved bit 9");
    expect_exception(vector::protection, [] { wrmsr(lapic::base_msr, base | u64{1} << 63); }, "an upper bit");

    // Off: CPUID says so, the page is nobody's, and nothing is kept.
    lapic::enable();
    lapic::write(lapic::tpr, 0x50);
    lapic::write(lapic::lvt_timer, lapic::masked | 0x77);
    enter(mode::off);
    expect_equal(cpuid(1).edx >> 9 & 1, 0, "CPUID has no APIC while it is off");
    expect_equal(lapic::read(lapic::version), 0xffffffff, "its page while it is off");
    enter(mode::xapic);
    expect_equal(cpuid(1).edx >> 9 & 1, 1, "CPUID has an APIC again");
    expect_equal(lapic::read(lapic::tpr), 0, "task priority behind it");
    expect_equal(lapic::read(lapic::lvt_timer), lapic::masked, "the timer's entry behind it");
    expect_equal(lapic::read(lapic::svr), 0xff, "software-disabled behind it");
    if (not has)
        return;

    // To x2APIC mode: priorities and entries stay, the page goes, logical destination is the id's.
    lapic::enable();
    lapic::write(lapic::tpr, 0x50);
    lapic::write(lapic::lvt_timer, lapic::masked | 0x77);
    lapic::write(lapic::ldr, 0x80000000);
    wrmsr(lapic::base_msr, base | extended);
    expect_equal(rdmsr(0x808), 0x50, "task priority in x2APIC mode");
    expect_equal(rdmsr(0x832), lapic::masked | 0x77, "the timer's entry in x2APIC mode");
    expect_equal(rdmsr(0x80f), 0x1ff, "enabled in x2APIC mode");
    auto const id = rdmsr(0x802);
    expect_equal(rdmsr(0x80d), (id & ~u64{0xf}) << 12 | 1u << (id & 0xf), "the logical id in x2APIC mode");
    expect_equal(lapic::read(lapic::version), 0xffffffff, "its page in x2APIC mode");
    enter(mode::xapic);
    expect_equal(lapic::read(lapic::ldr), 0, "the logical id behind x2APIC mode");
    expect_equal(lapic::read(lapic::tpr), 0, "task priority behind x2APIC mode");
    expect_equal(read_cr8(), 0, "CR8 behind x2APIC mode");
}
