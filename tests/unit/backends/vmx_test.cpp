// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "vmx_look.hpp"

#include <hv/backends/vmx.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

using namespace hv;
using namespace hv::test;
namespace parts = backends::vmx;

TEST_CASE("every register that a setter changes is what the processor works with next") {
    vmx_seat seat;
    auto& cpu = seat.cpu;
    using enum x86::segment_name;
    auto const segment = x86::segment{.base = 0x1234, .limit = 0x5678, .access = 0x40f3, .selector = 0x30};
    struct change {
        char const* name;
        std::function<void()> make;
        std::uint32_t field;
        std::uint64_t value;
    };
    std::vector<change> const changes{
        {"cr0", [&] { cpu.set_cr0(0x6001'0011); }, 0x6800, 0x0001'0031},
        {"cr0 shadow", [&] { cpu.set_cr0(0x6001'0011); }, 0x6004, 0x6001'0011},
        {"cr3", [&] { cpu.set_cr3(0x2000); }, 0x6802, 0x2000},
        {"cr3 beyond the physical address", [&] { cpu.set_cr3(1ull << 63 | 0x3000); }, 0x6802, 0x3000},
        {"cr4", [&] { cpu.set_cr4(0x6b0); }, 0x6804, 0x26f0},
        {"cr4 shadow", [&] { cpu.set_cr4(0x6b0); }, 0x6006, 0x6b0},
        {"efer", [&] { cpu.set_efer(0x801); }, 0x2806, 0x801},
        {"efer with bits of others", [&] { cpu.set_efer(0xf801); }, 0x2806, 0x801},
        {"dr7", [&] { cpu.set_debug_register(7, 0xf'0000'0401); }, 0x681a, 0x401},
        {"gdtr base", [&] { cpu.set_gdtr({.base = 0x9000, .limit = 0x7f}); }, 0x6816, 0x9000},
        {"gdtr limit", [&] {}, 0x4810, 0x7f},
        {"idtr base", [&] { cpu.set_idtr({.base = 0xa000, .limit = 0xfff}); }, 0x6818, 0xa000},
        {"idtr limit", [&] {}, 0x4812, 0xfff},
        {"es", [&] { cpu.set_segment(es, segment); }, 0x0800, 0x30},
        {"cs", [&] { cpu.set_segment(cs, segment); }, 0x6808, 0x1234},
        {"ss", [&] { cpu.set_segment(ss, segment); }, 0x4818, 0x40f3},
        {"ds", [&] { cpu.set_segment(ds, segment); }, 0x4806, 0x5678},
        {"fs", [&] { cpu.set_segment(fs, segment); }, 0x680e, 0x1234},
        {"gs", [&] { cpu.set_segment(gs, segment); }, 0x080a, 0x30},
        {"ldtr", [&] { cpu.set_segment(ldtr, segment); }, 0x480c, 0x5678},
        {"tr", [&] { cpu.set_segment(tr, segment); }, 0x6814, 0x1234},
        {"rip", [&] { cpu.set_rip(0x7777); }, 0x681e, 0x7777},
        {"rsp", [&] { cpu.set_gpr(x86::gpr::rsp, 0x8888); }, 0x681c, 0x8888},
        {"rflags", [&] { cpu.set_rflags(0xffff'ffff'ffff'ffff); }, 0x6820, 0x3f'7fd7},
        {"pat", [&] { CHECK(cpu.set_msr(x86::msr::ia32_pat, 0x0606) == status::ok); }, 0x2804, 0x0606},
        {"sysenter cs", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_cs, 6) == status::ok); }, 0x482a, 6},
        {"sysenter esp", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_esp, 7) == status::ok); }, 0x6824, 7},
        {"sysenter eip", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_eip, 8) == status::ok); }, 0x6826, 8},
        {"fs base", [&] { CHECK(cpu.set_msr(x86::msr::ia32_fs_base, 9) == status::ok); }, 0x680e, 9},
        {"gs base", [&] { CHECK(cpu.set_msr(x86::msr::ia32_gs_base, 1ull << 47) == status::ok); }, 0x6810,
         0xffff'8000'0000'0000},
        {"tsc offset", [&] { cpu.set_tsc_offset(0xfff0); }, 0x2010, 0xfff0},
        {"nmi", [&] { cpu.set_nmi_blocked(true); }, 0x4824, 8},
    };
    look(seat, [](vmx_model::guest&) {});
    for (auto const& c : changes) {
        CAPTURE(c.name);
        c.make();
        look(seat, [&](vmx_model::guest& g) { CHECK(g.state.at(c.field) == c.value); });
    }
    CHECK(cpu.cpl() == 3);
}

TEST_CASE("what did not change is not written, and what was read once is not read again") {
    vmx_seat seat;
    look(seat, [](vmx_model::guest&) {});
    auto const before = seat.model.writes;
    seat.cpu.set_rip(seat.cpu.rip());
    seat.cpu.set_cr0(seat.cpu.cr0());
    look(seat, [](vmx_model::guest&) {});
    CHECK(seat.model.writes == before);
    seat.cpu.set_rip(seat.cpu.rip() + 2);
    look(seat, [](vmx_model::guest&) {});
    CHECK(seat.model.writes == before + 1);
}

TEST_CASE("a guest that turns paging off leaves IA-32e mode, in EFER and in the entry control") {
    vmx_seat seat;
    auto& cpu = seat.cpu;
    cpu.set_cr4(x86::cr4::pae);
    cpu.set_efer(x86::efer::lme);
    cpu.set_cr0(x86::cr0::pg | x86::cr0::pe);
    look(seat, [](vmx_model::guest& g) {
        CHECK(g.state.at(0x2806) == 0x500);
        CHECK((g.state.at(0x4012) >> 9 & 1) == 1);
    });
    cpu.set_cr0(x86::cr0::pe);
    look(seat, [](vmx_model::guest& g) {
        CHECK(g.state.at(0x2806) == 0x100);
        CHECK((g.state.at(0x4012) >> 9 & 1) == 0);
    });
}

TEST_CASE("bits of CR0 that the guest owns come from the processor, the others from the shadow") {
    vmx_seat seat;
    seat.cpu.set_cr0(0x6000'0011);
    look(seat, [](vmx_model::guest& g) { g.state.set(0x6800, g.state.at(0x6800) | 0x5'000e); }); // AM, WP, TS, EM, MP
    CHECK(seat.cpu.cr0() == 0x6005'001f);
}

TEST_CASE("PAE paging gets its four entries from guest memory, without bits that MOV to CR3 refuses") {
    vmx_seat seat;
    auto* const page = static_cast<std::uint64_t*>(seat.host.allocate(page_size, page_size));
    REQUIRE(seat.tables.map(seat.host, gpa{0x7000}, seat.host.physical(page), page_size, access::read | access::write,
                            memory_type::write_back) == status::ok);
    page[4] = 0x8001;
    page[5] = 0x9ffe; // not present
    page[6] = 0xffff'ffff'ffff'f1ff;
    page[7] = 0xa019;
    auto& cpu = seat.cpu;
    cpu.set_cr3(0x7020);
    cpu.set_cr4(x86::cr4::pae);
    cpu.set_cr0(x86::cr0::pg | x86::cr0::pe);
    look(seat, [](vmx_model::guest& g) {
        CHECK(g.state.at(0x280a) == 0x8001);
        CHECK(g.state.at(0x280c) == 0);
        CHECK(g.state.at(0x280e) == 0x7f'ffff'f019);
        CHECK(g.state.at(0x2810) == 0xa019);
        g.state.set(0x280a, 0xb001); // the guest's own MOV to CR3
    });
    look(seat, [](vmx_model::guest& g) { CHECK(g.state.at(0x280a) == 0xb001); });
    cpu.set_cr3(0xdead'0000); // nothing there
    look(seat, [](vmx_model::guest& g) { CHECK(g.state.at(0x280a) == 0); });
    seat.host.free(page, page_size);
}

TEST_CASE("a software interrupt of the guest's own is forgotten: its instruction executes again") {
    vmx_seat seat;
    recording_handler handler;
    for (auto const own : {0x8000'0480u, 0x8000'0501u, 0x8000'0603u, 0x8000'0604u}) {
        seat.model.next = [own](vmx_model::guest& g) {
            g.exit(48, 0x181);
            g.state.set(0x4408, own);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
    }
    for (auto const lost : {event::make(x86::exception::page_fault, 2), event::make(event_type::nmi, 2),
                            event::make(event_type::external_interrupt, 0x31)}) {
        seat.will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}}, 0, lost);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.take_interrupted_event() == lost);
    }
}

TEST_CASE("an exception that never entered keeps the error code that real mode did not take") {
    vmx_seat seat;
    recording_handler handler;
    seat.cpu.set_cr0(0x10);
    auto const e = event::make(x86::exception::general_protection, 0x18);
    seat.cpu.inject(e);
    seat.delivery_will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.model.last_injection == 0x8000'030d);
    CHECK(seat.cpu.take_interrupted_event() == e);
}

TEST_CASE("a software interrupt is injected one byte earlier where the processor wants an instruction") {
    vmx_seat seat;
    seat.host.set_msr(x86::msr::ia32_vmx_misc, 0);
    seat.cpu.detach(seat.host, seat.processors[0]);
    REQUIRE(seat.machine.create(seat.host, {.nested_root = seat.tables.root(seat.host)}) == status::ok);
    REQUIRE(seat.cpu.create(seat.host, seat.machine) == status::ok);
    seat.cpu.attach(seat.host, seat.processors[0]);
    recording_handler handler;
    seat.cpu.set_rip(0x1000);
    seat.cpu.inject(event::make(event_type::software_interrupt, 0x80));
    bool seen{};
    seat.model.next = [&](vmx_model::guest& g) {
        seen = g.state.at(0x681e) == 0xfff and g.state.at(0x401a) == 1;
        g.exit(48, 0x181);
        g.state.set(0x4408, 0x8000'0480);
    };
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seen);
    CHECK(seat.cpu.rip() == 0x1000);
    CHECK(seat.cpu.take_interrupted_event() == event::make(event_type::software_interrupt, 0x80));
}

TEST_CASE("an IRET that faults after it ended the blocking of NMIs blocks them again") {
    vmx_seat seat;
    recording_handler handler;
    for (bool const unblocked : {true, false}) {
        seat.cpu.set_nmi_blocked(false);
        seat.model.next = [&](vmx_model::guest& g) {
            g.exit(48, 0x181 | (unblocked ? 0x1000u : 0u));
            g.state.set(0x2400, 0x5000);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.nmi_blocked() == unblocked);
        seat.cpu.set_nmi_blocked(false);
        seat.model.next = [&](vmx_model::guest& g) { g.exit_by_event(0x8000'0311u | (unblocked ? 0x1000u : 0u), 0); };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.nmi_blocked() == unblocked);
    }
}

TEST_CASE("an NMI window that opens in the shadow of STI ends that shadow, or the guest would not move on") {
    vmx_seat seat;
    recording_handler handler;
    seat.cpu.set_rflags(x86::rflags::interrupt);
    seat.cpu.set_interrupt_shadow(true);
    seat.cpu.request_nmi_window();
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "nmi_window");
    CHECK_FALSE(seat.cpu.interrupt_shadow());
    look(seat, [](vmx_model::guest& g) { CHECK((g.state.at(0x4002) >> 22 & 1) == 0); }); // asked at each entry
}

TEST_CASE("the TPR threshold is the present priority while somebody waits for it to fall, and zero otherwise") {
    vmx_seat seat;
    auto& cpu = seat.cpu;
    auto const threshold = [&] {
        std::uint64_t found{};
        look(seat, [&](vmx_model::guest& g) { found = g.state.at(0x401c); });
        return found;
    };
    cpu.set_task_priority(9);
    CHECK(threshold() == 0);
    cpu.watch_task_priority(true);
    CHECK(threshold() == 9);
    cpu.set_task_priority(3);
    CHECK(threshold() == 3);
    cpu.watch_task_priority(false);
    CHECK(threshold() == 0);
    recording_handler handler;
    seat.model.next = [](vmx_model::guest& g) { g.exit(43); };
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "interrupt_window");
}

TEST_CASE("XSA-308: a single step in an interrupt shadow enters, and leaves no second trap behind an emulated step") {
    vmx_seat seat;
    auto& cpu = seat.cpu;
    cpu.set_rflags(x86::rflags::tf | x86::rflags::interrupt);
    cpu.set_interrupt_shadow(true);
    look(seat, [](vmx_model::guest& g) {
        CHECK(g.state.at(0x6822) == 0x4000);
        CHECK(g.state.at(0x4824) == 1);
    });
    cpu.set_rip(cpu.rip() + 2);
    look(seat, [](vmx_model::guest& g) {
        CHECK(g.state.at(0x6822) == 0);
        CHECK(g.state.at(0x4824) == 0);
    });
    cpu.set_interrupt_shadow(true);
    cpu.set_rflags(0); // blocking by STI without IF would not enter
    look(seat, [](vmx_model::guest& g) {
        CHECK(g.state.at(0x6822) == 0);
        CHECK(g.state.at(0x4824) == 2);
    });
}

TEST_CASE("an NMI of the host reaches the host's own handler") {
    vmx_seat seat;
    recording_handler handler;
    seat.model.next = [](vmx_model::guest& g) { g.exit_by_event(0x8000'0202); };
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "host_interrupt");
    CHECK(seat.model.processors[0].nmis == 1);
}
