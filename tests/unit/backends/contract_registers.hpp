// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "exit_summary.hpp"

#include <hv/backends/backend.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>

/// Registers of the backend contract. Part of contract.hpp.
namespace hv::test {

inline constexpr std::array held_msrs{
    x86::msr::ia32_sysenter_cs, x86::msr::ia32_sysenter_esp, x86::msr::ia32_sysenter_eip,   x86::msr::ia32_pat,
    x86::msr::ia32_star,        x86::msr::ia32_lstar,        x86::msr::ia32_cstar,          x86::msr::ia32_fmask,
    x86::msr::ia32_fs_base,     x86::msr::ia32_gs_base,      x86::msr::ia32_kernel_gs_base, x86::msr::ia32_tsc_aux};

/// A usable segment of 64-bit, 32-bit or system kind, different for each name.
[[nodiscard]] inline auto some_segment(x86::segment_name name) -> x86::segment {
    auto const n = static_cast<std::uint32_t>(name);
    std::uint32_t const access = name == x86::segment_name::cs     ? 0xa09b
                                 : name == x86::segment_name::ldtr ? 0x0082
                                 : name == x86::segment_name::tr   ? 0x008b
                                                                   : 0xc093;
    return {.base = 0x1000'0000ull * n + 0x10,
            .limit = 0xffff0fff - n,
            .access = access,
            .selector = static_cast<std::uint16_t>(8 * n + 8)};
}

TEMPLATE_LIST_TEST_CASE("registers read back what was written", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    for (unsigned i{0}; i < x86::gpr_count; ++i)
        cpu.set_gpr(static_cast<x86::gpr>(i), 0x1111'0000'0000'0000u + i);
    cpu.set_rip(0xffff'8000'1234'5678);
    cpu.set_rflags(x86::rflags::interrupt | x86::rflags::cf);
    cpu.set_cr2(0x1234);
    cpu.set_cr3(0x5000);
    for (unsigned i{0}; i < 4; ++i)
        cpu.set_debug_register(i, 0x7000 + i);
    cpu.set_debug_register(6, 0xffff'4ff0);
    cpu.set_debug_register(7, 0x455);
    cpu.set_gdtr({.base = 0xffff'8000'0000'1000, .limit = 0x7f});
    cpu.set_idtr({.base = 0xffff'8000'0000'2000, .limit = 0xfff});
    cpu.set_tsc_offset(77);
    for (auto const index : held_msrs)
        CHECK(cpu.set_msr(index, 0x1000 + index) == status::ok);

    recording_handler handler;
    auto const check = [&] {
        for (unsigned i{0}; i < x86::gpr_count; ++i)
            CHECK(cpu.gpr(static_cast<x86::gpr>(i)) == 0x1111'0000'0000'0000u + i);
        CHECK(cpu.rip() == 0xffff'8000'1234'5678);
        CHECK(cpu.rflags() == (x86::rflags::interrupt | x86::rflags::cf | x86::rflags::fixed_one));
        CHECK(cpu.cr2() == 0x1234);
        CHECK(cpu.cr3() == 0x5000);
        for (unsigned i{0}; i < 4; ++i)
            CHECK(cpu.debug_register(i) == 0x7000u + i);
        CHECK(cpu.debug_register(6) == 0xffff'4ff0);
        CHECK(cpu.debug_register(7) == 0x455);
        CHECK(cpu.gdtr() == x86::descriptor_table{.base = 0xffff'8000'0000'1000, .limit = 0x7f});
        CHECK(cpu.idtr() == x86::descriptor_table{.base = 0xffff'8000'0000'2000, .limit = 0xfff});
        for (auto const index : held_msrs)
            CHECK(cpu.msr(index).value == static_cast<std::uint32_t>(0x1000 + index));
    };
    check();
    for (int i{0}; i < 3; ++i) { // and exits do not wear them off
        seat.will_exit(exits::hlt{});
        CHECK(seat.enter(handler) == verdict::leave);
    }
    check();
    seat.move_to(1);
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::leave);
    check();
}

TEMPLATE_LIST_TEST_CASE("an MSR that the backend does not hold is refused", "", seats) {
    TestType seat;
    for (auto const index : {x86::msr::ia32_tsc, x86::msr::ia32_efer, x86::msr::ia32_apic_base, x86::msr::amd_hwcr,
                             x86::msr::amd_vm_hsave_pa, std::uint32_t{0x4000'0000}}) {
        CHECK(seat.cpu.msr(index).error == status::invalid_argument);
        CHECK(seat.cpu.set_msr(index, 1) == status::invalid_argument);
    }
}

TEMPLATE_LIST_TEST_CASE("the guest sees its control registers as it set them", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    recording_handler handler;
    for (std::uint64_t const cr0 :
         {std::uint64_t{0x6000'0010}, std::uint64_t{0x2000'0011}, std::uint64_t{0x4000'0033}, std::uint64_t{0x31}}) {
        cpu.set_cr0(cr0);
        CHECK(cpu.cr0() == cr0);
        seat.will_exit(exits::hlt{});
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "hlt"); // CD and NW in every combination enter
        CHECK(cpu.cr0() == cr0);
    }
    cpu.set_cr4(x86::cr4::pae | x86::cr4::pge | x86::cr4::osfxsr);
    CHECK(cpu.cr4() == (x86::cr4::pae | x86::cr4::pge | x86::cr4::osfxsr));
}

TEMPLATE_LIST_TEST_CASE("EFER.LMA follows EFER.LME and CR0.PG, and EFER.SVME is not there", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    cpu.set_cr4(x86::cr4::pae);
    cpu.set_efer(x86::efer::lme | x86::efer::nxe);
    CHECK(cpu.efer() == (x86::efer::lme | x86::efer::nxe));
    cpu.set_cr0(x86::cr0::pg | x86::cr0::pe | x86::cr0::et);
    CHECK(cpu.efer() == (x86::efer::lme | x86::efer::lma | x86::efer::nxe));
    recording_handler handler;
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "hlt");
    cpu.set_cr0(x86::cr0::pe | x86::cr0::et);
    CHECK(cpu.efer() == (x86::efer::lme | x86::efer::nxe));
    cpu.set_efer(x86::efer::svme);
    CHECK(cpu.efer() == 0);
}

TEMPLATE_LIST_TEST_CASE("CR4.OSXSAVE stays off in a machine that hides XSAVE", "", seats) {
    TestType seat{vm_controls{.hide_xsave = true}};
    seat.cpu.set_cr4(x86::cr4::osxsave | x86::cr4::pae);
    CHECK(seat.cpu.cr4() == x86::cr4::pae);
}

TEMPLATE_LIST_TEST_CASE("segments survive in every kind", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    using enum x86::segment_name;
    for (auto const name : {es, cs, ss, ds, fs, gs, ldtr, tr})
        cpu.set_segment(name, some_segment(name));
    for (auto const name : {es, cs, ss, ds, fs, gs, ldtr, tr})
        CHECK(cpu.segment(name) == some_segment(name));
    recording_handler handler;
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::leave);
    for (auto const name : {es, cs, ss, ds, fs, gs, ldtr, tr})
        CHECK(cpu.segment(name) == some_segment(name));
    for (auto const name : {es, ds, fs, gs, ldtr}) {
        cpu.set_segment(name, {.access = x86::segment_access::unusable});
        CHECK((cpu.segment(name).access & x86::segment_access::unusable) != 0);
        cpu.set_segment(name, some_segment(name));
        CHECK((cpu.segment(name).access & x86::segment_access::unusable) == 0);
    }
}

TEMPLATE_LIST_TEST_CASE("the privilege level is that of SS, even of an unusable one", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    for (std::uint32_t level{0}; level < 4; ++level) {
        auto stack = some_segment(x86::segment_name::ss);
        stack.access = (stack.access & ~x86::segment_access::dpl) | level << x86::segment_access::dpl_shift;
        cpu.set_segment(x86::segment_name::ss, stack);
        CHECK(cpu.cpl() == level);
        CHECK(cpu.segment(x86::segment_name::ss) == stack);
        stack.access |= x86::segment_access::unusable;
        cpu.set_segment(x86::segment_name::ss, stack);
        CHECK(cpu.cpl() == level);
        auto const read = cpu.segment(x86::segment_name::ss).access;
        CHECK((read & x86::segment_access::unusable) != 0);
        CHECK((read & x86::segment_access::dpl) >> x86::segment_access::dpl_shift == level);
    }
}

} // namespace hv::test
