// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "vmx_look.hpp"

#include <hv/backends/vmx.hpp>

#include <array>
#include <cstdint>
#include <vector>

using namespace hv;
using namespace hv::test;
namespace parts = backends::vmx;

TEST_CASE("CVE-2021-3656: what acts on the host exits in every configuration, whatever the layers above do") {
    for (unsigned choice{0}; choice < 8; ++choice) {
        vmx_seat seat{vm_controls{.intercepted_exceptions = (choice & 1) != 0 ? 0x4000u : 0u,
                                  .trap_tsc = (choice & 2) != 0,
                                  .pause = (choice & 4) != 0 ? pause_policy::exits : pause_policy::runs}};
        for (int round{0}; round < 3; ++round) {
            look(seat, [&](vmx_model::guest& g) {
                auto const primary = g.state.at(0x4002), exceptions = g.state.at(0x4004);
                CHECK((g.state.at(0x4000) & 0x29) == 0x29); // interrupts, NMIs, virtual NMIs
                // TSC offset, HLT, MWAIT, RDPMC, TPR shadow, I/O, MSR bitmaps, MONITOR, secondary
                CHECK((primary & 0xb120'0c88) == 0xb120'0c88);
                CHECK((primary & 0x0018'8000) == 0);              // CR3 and CR8 are the guest's
                CHECK((primary & 1u << 25) == 0);                 // no I/O bitmaps
                CHECK(g.state.at(0x401e) == 0x10ea);              // EPT, RDTSCP, VPID, WBINVD, unrestricted, INVPCID
                CHECK((exceptions & 0x0006'0002) == 0x0006'0002); // #DB #AC #MC
                CHECK(g.state.at(0x6000) == ~std::uint64_t{0x5000e});
                CHECK((primary >> 12 & 1) == (choice >> 1 & 1));
                CHECK((primary >> 30 & 1) == (choice >> 2 & 1));
                CHECK((exceptions >> 14 & 1) == (choice & 1));
                CHECK((g.state.at(0x400c) & 0x0028'0204) == 0x0028'0204);
                CHECK((g.state.at(0x4012) & 0xc004) == 0xc004);
                CHECK(g.state.at(0x2802) == 0); // DEBUGCTL
            });
            seat.cpu.request_interrupt_window(round == 0);
            seat.cpu.set_cr0(round == 0 ? 0x6000'0010 : 0x11);
            seat.cpu.set_efer(round == 0 ? 0x100 : 0);
        }
    }
}

TEST_CASE("all MSRs exit but the direct ones") {
    static constexpr std::array direct{x86::msr::ia32_star, x86::msr::ia32_kernel_gs_base, x86::msr::ia32_sysenter_eip};
    vmx_seat seat{vm_controls{.direct_msrs = direct}};
    look(seat, [&](vmx_model::guest& g) {
        auto const* const map = static_cast<std::uint8_t const*>(seat.host.pointer(hpa{g.state.at(0x2004)}));
        unsigned open{};
        for (unsigned bit{0}; bit < 0x8000; ++bit)
            open += (map[bit / 8] >> bit % 8 & 1) == 0;
        CHECK(open == 6);
        auto const exits = [&](unsigned bit) { return (map[bit / 8] >> bit % 8 & 1) != 0; };
        CHECK_FALSE(exits(0x176));
        CHECK_FALSE(exits(0x4000 + 0x176));
        CHECK_FALSE(exits(0x2000 + 0x81));
        CHECK_FALSE(exits(0x6000 + 0x102));
    });
}

TEST_CASE("a machine cannot ask for an MSR that no world switch exchanges") {
    for (auto const index : {x86::msr::ia32_efer, x86::msr::ia32_pat, x86::msr::ia32_tsc, x86::msr::ia32_debugctl,
                             x86::msr::ia32_xss, x86::msr::ia32_spec_ctrl, std::uint32_t{0xc001'0000}}) {
        vmx_seat seat;
        std::array const direct{index};
        parts::vm machine;
        CHECK(machine.create(seat.host, {.direct_msrs = direct}) == status::invalid_argument);
    }
}

TEST_CASE("registers that entries and exits leave alone are the guest's inside and the host's outside") {
    static constexpr std::array direct{x86::msr::ia32_lstar};
    static constexpr std::array msrs{x86::msr::ia32_star,  x86::msr::ia32_lstar,          x86::msr::ia32_cstar,
                                     x86::msr::ia32_fmask, x86::msr::ia32_kernel_gs_base, x86::msr::ia32_tsc_aux};
    vmx_seat seat{vm_controls{.direct_msrs = direct}};
    auto& cpu = seat.cpu;
    auto& p = seat.model.processors[0];
    cpu.detach(seat.host, seat.processors[0]);
    std::array<std::uint64_t, 4> const host_debug{1, 2, 3, 4}, guest_debug{0x10, 0x20, 0x30, 0x40};
    p.debug_addresses = host_debug;
    p.debug_status = 0xffff'0ff1;
    p.debug_control = 0x455;
    for (auto const index : msrs)
        seat.host.set_msr(index, 0x9000 + (index & 0xff));
    cpu.attach(seat.host, seat.processors[0]);
    for (unsigned i{0}; i < 4; ++i)
        cpu.set_debug_register(i, guest_debug[i]);
    cpu.set_debug_register(6, 0xffff'4ff0);
    cpu.set_cr2(0xabc);
    for (auto const index : msrs)
        CHECK(cpu.set_msr(index, 0x100 + (index & 0xff)) == status::ok);
    for (unsigned round{0}; round < 1000; ++round)
        look(seat, [&](vmx_model::guest&) {
            REQUIRE(p.debug_addresses == guest_debug);
            REQUIRE(p.debug_status == 0xffff'4ff0);
            REQUIRE(p.cr2 == 0xabc + round);
            p.cr2 = 0xabc + round + 1;
            for (auto const index : msrs)
                REQUIRE(seat.host.read_msr(index).value == (index == x86::msr::ia32_lstar ? 0x182 + round
                                                            : index == x86::msr::ia32_kernel_gs_base
                                                                ? 0x102 + round
                                                                : 0x100 + (index & 0xff)));
            seat.host.set_msr(x86::msr::ia32_lstar, 0x182 + round + 1);          // WRMSR, without an exit
            seat.host.set_msr(x86::msr::ia32_kernel_gs_base, 0x102 + round + 1); // SWAPGS
        });
    CHECK(cpu.msr(x86::msr::ia32_kernel_gs_base).value == 0x102 + 1000);
    cpu.detach(seat.host, seat.processors[0]);
    CHECK(p.debug_addresses == host_debug);
    CHECK(p.debug_status == 0xffff'0ff1);
    CHECK(p.debug_control == 0x455);
    for (auto const index : msrs)
        CHECK(seat.host.read_msr(index).value == 0x9000 + (index & 0xff));
    CHECK(cpu.cr2() == 0xabc + 1000);
    CHECK(cpu.msr(x86::msr::ia32_lstar).value == 0x182 + 1000);
    CHECK(cpu.msr(x86::msr::ia32_kernel_gs_base).value == 0x102 + 1000);
    CHECK(cpu.msr(x86::msr::ia32_star).value == 0x181);
    cpu.attach(seat.host, seat.processors[0]);
}

TEST_CASE("XSA-333: a value that WRMSR refuses never reaches it") {
    vmx_seat seat;
    CHECK(seat.cpu.set_msr(x86::msr::ia32_lstar, 0x8000'0000'0000) == status::ok);
    CHECK(seat.cpu.set_msr(x86::msr::ia32_fmask, ~0ull) == status::ok);
    CHECK(seat.cpu.set_msr(x86::msr::ia32_tsc_aux, ~0ull) == status::ok);
    look(seat, [](vmx_model::guest&) {});
    CHECK(seat.host.read_msr(x86::msr::ia32_lstar).value == 0xffff'8000'0000'0000);
    CHECK(seat.host.read_msr(x86::msr::ia32_fmask).value == 0xffff'ffff);
    CHECK(seat.host.read_msr(x86::msr::ia32_tsc_aux).value == 0xffff'ffff);
}

TEST_CASE("CVE-2020-24718: the host's state in the VMCS is the host's, with selectors that an exit can load") {
    vmx_seat seat;
    look(seat, [](vmx_model::guest& g) {
        CHECK(g.state.at(0x6c00) == 0x8001'0033);
        CHECK(g.state.at(0x6c02) == 0x1000);
        CHECK(g.state.at(0x6c04) == 0x2620);
        CHECK(g.state.at(0xc02) == 8);
        CHECK(g.state.at(0xc06) == 0); // 2Bh is no selector of level 0
        CHECK(g.state.at(0xc0c) == 0x18);
        CHECK(g.state.at(0x6c0a) == 0x4000);
        CHECK(g.state.at(0x6c0c) == 0x5000);
        CHECK(g.state.at(0x6c0e) == 0x6000);
        CHECK(g.state.at(0x2c02) == 0xd01);
        CHECK(g.state.at(0x6c06) == 0x1000);
        CHECK(g.state.at(0x6c10) == 0x1075);
    });
}

TEST_CASE("a machine that shows XSAVE has its own XCR0 inside, and is stopped with a state that it hides") {
    vmx_seat seat{vm_controls{.hide_xsave = false, .xcr0_allowed = 3}};
    auto& p = seat.model.processors[0];
    seat.cpu.set_xcr0(3);
    look(seat, [&](vmx_model::guest& g) {
        CHECK(p.xcr0 == 3);
        CHECK((g.state.at(0x401e) >> 20 & 1) == 0); // no XSAVES, so XSS does not matter
    });
    CHECK(p.xcr0 == 7);
    seat.cpu.set_xcr0(7);
    auto const entries = seat.model.entries;
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "isolation_broken");
    CHECK(seat.model.entries == entries);
    CHECK(p.xcr0 == 7);
}

TEST_CASE("a machine that hides XSAVE never touches XCR0") {
    vmx_seat seat{vm_controls{.hide_xsave = true}};
    seat.cpu.set_xcr0(3);
    look(seat, [&](vmx_model::guest&) { CHECK(seat.model.processors[0].xcr0 == 7); });
}

TEST_CASE("XSAVES and XRSTORS are there where the guest's CPUID shows them, and find no supervisor state") {
    for (bool const shown : {false, true}) {
        vmx_seat seat{vm_controls{.shows_xsaves = shown}};
        seat.host.set_msr(x86::msr::ia32_xss, 0x800);
        seat.cpu.detach(seat.host, seat.processors[0]);
        seat.cpu.attach(seat.host, seat.processors[0]);
        for (int i{0}; i != 3; ++i) {
            look(seat, [&](vmx_model::guest& g) {
                CHECK((g.state.at(0x401e) >> 20 & 1) == (shown ? 1 : 0));
                CHECK(g.state.at(0x202c) == (shown ? ~0ull : vmx_model::garbage));
                CHECK(seat.host.read_msr(x86::msr::ia32_xss).value == (shown ? 0 : 0x800));
            });
            CHECK(seat.host.read_msr(x86::msr::ia32_xss).value == 0x800);
        }
    }
}
