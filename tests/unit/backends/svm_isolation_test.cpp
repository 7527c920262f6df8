// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "svm_look.hpp"

#include <hv/backends/svm.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

using namespace hv;
using namespace hv::test;
namespace parts = backends::svm;

TEST_CASE("CVE-2020-7467, CVE-2021-3656: instructions that act on the host exit in every configuration") {
    for (unsigned choice{0}; choice < 8; ++choice) {
        svm_seat seat{vm_controls{.intercepted_exceptions = (choice & 1) != 0 ? 0x4000u : 0u,
                                  .trap_tsc = (choice & 2) != 0,
                                  .pause = (choice & 4) != 0 ? pause_policy::exits : pause_policy::runs}};
        for (int round{0}; round < 3; ++round) {
            look(seat, [&](vmcb const& b) {
                auto const misc1 = at<std::uint32_t>(b, 0x00c), misc2 = at<std::uint32_t>(b, 0x010);
                // VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT, WBINVD MONITOR MWAIT MWAIT-armed XSETBV RDPRU
                CHECK((misc2 & 0x7e7f) == 0x7e7f);
                // INTR NMI SMI INIT, RDPMC CPUID RSM INVD HLT INVLPGA IOIO MSR TASK FERR SHUTDOWN
                CHECK((misc1 & 0xfd4c'800f) == 0xfd4c'800f);
                CHECK((at<std::uint32_t>(b, 0x008) & 0x0006'0002) == 0x0006'0002); // #DB #AC #MC
                CHECK((at<std::uint32_t>(b, 0x000) & 0x0011'0000) == 0x0011'0000); // CR0 and CR4 writes
                CHECK(at<std::uint64_t>(b, 0x0b8) == 0);                           // no virtual VMLOAD, no LBR
                CHECK((at<std::uint64_t>(b, 0x060) >> 31 & 1) == 0);               // no AVIC
                CHECK((at<std::uint64_t>(b, 0x060) >> 24 & 1) == 1);               // V_INTR_MASKING
                CHECK(at<std::uint64_t>(b, 0x090) == 1);                           // nested paging, nothing of SEV
                CHECK((misc1 >> 14 & 1) == (choice >> 1 & 1));
                CHECK((misc2 >> 7 & 1) == (choice >> 1 & 1));
                CHECK((misc1 >> 23 & 1) == (choice >> 2 & 1));
                CHECK((at<std::uint32_t>(b, 0x008) >> 14 & 1) == (choice & 1));
            });
            // Nothing that the layers above do may take one away.
            seat.cpu.set_nmi_blocked(round == 0);
            seat.cpu.request_interrupt_window(round == 0);
            seat.cpu.set_cr0(round == 0 ? 0x6000'0010 : 0x11);
        }
    }
}

TEST_CASE("an SMI is intercepted unless the firmware locked SMM") {
    for (bool const locked : {false, true}) {
        svm_seat seat;
        seat.host.set_msr(x86::msr::amd_hwcr, locked ? 1 : 0);
        seat.cpu.detach(seat.host, seat.processors[0]);
        REQUIRE(seat.machine.create(seat.host, {}) == status::ok);
        REQUIRE(seat.cpu.create(seat.host, seat.machine) == status::ok);
        seat.cpu.attach(seat.host, seat.processors[0]);
        look(seat, [&](vmcb const& b) { CHECK((at<std::uint32_t>(b, 0x00c) >> 2 & 1) == (locked ? 0 : 1)); });
    }
}

TEST_CASE("reads of CR0 exit only while the guest's caches are off on paper") {
    svm_seat seat;
    for (auto const cr0 : {std::uint64_t{0x6000'0011}, std::uint64_t{0x11}, std::uint64_t{0x4000'0011}}) {
        seat.cpu.set_cr0(cr0);
        look(seat, [&](vmcb const& b) {
            CHECK(at<std::uint64_t>(b, 0x558) == 0x11);
            CHECK((at<std::uint32_t>(b, 0x000) & 1) == (cr0 >= 0x4000'0000 ? 1 : 0));
        });
    }
}

TEST_CASE("a guest has its CR2 even where VMRUN leaves the processor's as it is") {
    svm_seat seat;
    seat.model.loads_cr2 = false;
    for (std::uint64_t const value : {0x1111u, 0x1112u}) {
        seat.cpu.set_cr2(value);
        look(seat, [&](vmcb const& b) { CHECK(at<std::uint64_t>(b, 0x640) == value); });
    }
    seat.model.next = [](svm_model::guest& g) {
        g.state.write(g.state.save.cr2, 0x2222); // a fault of its own
        g.exit(0x78);
    };
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.cr2() == 0x2222);
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.model.current().cr2 = 0x3333; // a fault of the host, or another guest's
    seat.cpu.attach(seat.host, seat.processors[0]);
    look(seat, [](vmcb const& b) { CHECK(at<std::uint64_t>(b, 0x640) == 0x2222); });
}

TEST_CASE("all ports and all MSRs exit but the direct ones") {
    static constexpr std::array direct{x86::msr::ia32_star, x86::msr::ia32_kernel_gs_base, x86::msr::ia32_sysenter_eip};
    svm_seat seat{vm_controls{.direct_msrs = direct}};
    look(seat, [&](vmcb const& b) {
        auto const* const ports = static_cast<std::uint8_t const*>(seat.host.pointer(hpa{at<std::uint64_t>(b, 0x040)}));
        for (unsigned i{0}; i < 0x3000; ++i)
            REQUIRE(ports[i] == 0xff);
        auto const* const msrs = static_cast<std::uint8_t const*>(seat.host.pointer(hpa{at<std::uint64_t>(b, 0x048)}));
        std::map<unsigned, std::uint8_t> open{
            {0x800 + 0x81 / 4, 0xf3},  // C000_0081: second pair of its byte
            {0x800 + 0x102 / 4, 0xcf}, // C000_0102: third
            {0x176 / 4, 0xcf},         // 0000_0176: third
        };
        for (unsigned i{0}; i < 0x2000; ++i)
            REQUIRE(msrs[i] == (open.count(i) != 0 ? open[i] : 0xff));
    });
}

TEST_CASE("a machine cannot ask for an MSR that no world switch exchanges") {
    hosted::host host{hosted::host_config{.memory = std::size_t{16} << 20}};
    for (auto const index :
         {x86::msr::ia32_spec_ctrl, x86::msr::ia32_debugctl, x86::msr::ia32_xss, x86::msr::ia32_efer,
          x86::msr::ia32_tsc, x86::msr::ia32_pat, x86::msr::ia32_tsc_aux, x86::msr::amd_hwcr, x86::msr::amd_vm_hsave_pa,
          x86::msr::ia32_apic_base, std::uint32_t{0x4000'0000}, std::uint32_t{0xffff'ffff}}) {
        std::array const direct{x86::msr::ia32_star, index};
        parts::vm machine;
        CHECK(machine.create(host, {.direct_msrs = direct}) == status::invalid_argument);
        CHECK(host.bytes_in_use() == 0);
    }
}

TEST_CASE("the MSR permission map has two bits for each of three ranges and no more") {
    std::vector<bool> used(0x2000 * 8);
    std::uint64_t covered{};
    for (std::uint64_t const start :
         {0x0ull, 0x4000'0000ull, 0xbfff'd000ull, 0xc000'0000ull, 0xc000'8000ull, 0xc001'0000ull, 0xffff'd000ull})
        for (auto index = start; index < start + 0x3000; ++index) {
            auto const bit = parts::msr_permission_bit(static_cast<std::uint32_t>(index));
            bool const inside{index < 0x2000 or (index >= 0xc000'0000 and index < 0xc000'2000) or
                              (index >= 0xc001'0000 and index < 0xc001'2000)};
            REQUIRE(static_cast<bool>(bit) == inside);
            if (bit) {
                REQUIRE_FALSE(used.at(bit.value));
                REQUIRE(bit.value % 2 == 0);
                used[bit.value] = true;
                ++covered;
            }
        }
    CHECK(covered == 3 * 0x2000);
}

TEST_CASE("registers that VMRUN leaves alone are the guest's inside and the host's outside, a thousand times") {
    svm_seat seat; // shows XSAVE
    auto& cpu = seat.cpu;
    auto& processor = seat.model.processors[0];
    cpu.detach(seat.host, seat.processors[0]);
    std::array<std::uint64_t, 4> const host_addresses{0xa0, 0xa1, 0xa2, 0xa3};
    processor.debug_addresses = host_addresses;
    processor.debug_control = 0x4aa;
    processor.debug_status = 0xffff'0ff2;
    processor.xcr0 = 7;
    seat.host.set_msr(x86::msr::ia32_tsc_aux, 0x1234);
    cpu.set_cr4(x86::cr4::pae | x86::cr4::osxsave);
    CHECK(cpu.cr4() == (x86::cr4::pae | x86::cr4::osxsave));
    std::uint64_t count{};
    for (unsigned i{0}; i < 4; ++i)
        cpu.set_debug_register(i, i);
    CHECK(cpu.set_msr(x86::msr::ia32_tsc_aux, 0) == status::ok);
    cpu.set_xcr0(1);
    leave_always handler;
    for (int stretch{0}; stretch < 100; ++stretch) {
        cpu.attach(seat.host, seat.processors[0]);
        CHECK(processor.debug_control == 0x400);
        for (int entry{0}; entry < 10; ++entry) {
            seat.model.next = [&](svm_model::guest& g) {
                for (unsigned i{0}; i < 4; ++i)
                    CHECK(g.processor.debug_addresses[i] == count + i);
                CHECK(seat.host.read_msr(x86::msr::ia32_tsc_aux).value == count);
                CHECK(g.processor.xcr0 == (count % 2 == 0 ? 1 : 3));
                ++count;
                for (unsigned i{0}; i < 4; ++i)
                    g.processor.debug_addresses[i] = count + i; // the guest writes DR0-3
                g.processor.debug_status = 0xffff'4ff0;         // takes a #DB
                g.processor.xcr0 = count % 2 == 0 ? 1 : 3;      // and executes XSETBV, which QEMU lets through
                g.exit(0x78);
            };
            CHECK(modelled_svm::enter(seat.host, seat.processors[0], cpu, handler) == verdict::leave);
            CHECK(processor.xcr0 == 7);
            CHECK(cpu.xcr0() == (count % 2 == 0 ? 1 : 3));
            CHECK(cpu.debug_register(3) == count + 3);
            CHECK(cpu.set_msr(x86::msr::ia32_tsc_aux, count) == status::ok);
        }
        cpu.detach(seat.host, seat.processors[0]);
        CHECK(processor.debug_addresses == host_addresses);
        CHECK(processor.debug_control == 0x4aa);
        CHECK(processor.debug_status == 0xffff'0ff2);
        CHECK(seat.host.read_msr(x86::msr::ia32_tsc_aux).value == 0x1234);
        CHECK(cpu.debug_register(3) == count + 3);
        CHECK(cpu.debug_register(0) == count);
    }
    CHECK(count == 1000);
    cpu.attach(seat.host, seat.processors[0]); // as the seat found it
}

TEST_CASE("VMRUN and VMSAVE keep the host in different pages") {
    svm_seat seat;
    seat.prepare_msrs();
    modelled_svm::processor processor;
    REQUIRE(processor.enable(seat.host) == status::ok);
    auto const save_area = seat.host.read_msr(x86::msr::amd_vm_hsave_pa).value;
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.cpu.attach(seat.host, processor);
    auto const host_state = seat.model.processors[0].host_saved;
    CHECK(host_state % page_size == 0);
    CHECK(save_area % page_size == 0);
    CHECK(host_state != save_area);
    CHECK(seat.host.pointer(hpa{host_state}) != seat.host.pointer(hpa{save_area}));
    seat.cpu.detach(seat.host, processor);
    processor.disable(seat.host);
    seat.cpu.attach(seat.host, seat.processors[0]);
}

TEST_CASE("a machine that hides XSAVE never touches XCR0") {
    svm_seat seat{vm_controls{.hide_xsave = true}};
    seat.cpu.set_xcr0(1);
    seat.cpu.set_cr4(x86::cr4::osxsave);
    look(seat, [&](vmcb const& b) {
        CHECK(seat.model.processors[0].xcr0 == 7);
        CHECK((at<std::uint64_t>(b, 0x548) & x86::cr4::osxsave) == 0);
    });
}

namespace {
/// What exit a guest was left with, and the host's XCR0 then.
struct xcr0_recorder {
    std::string seen{};
    std::uint64_t host_xcr0{};
    auto on(exits::isolation_broken const&) -> verdict {
        seen = "isolation_broken";
        host_xcr0 = modelled_world_switch::read_xcr0();
        return verdict::leave;
    }
    auto on(auto const& exit) -> verdict {
        seen = exit.name;
        return verdict::leave;
    }
};
} // namespace

TEST_CASE("a guest that holds a state its machine hides is stopped, with the host's XCR0 back") {
    svm_seat seat{vm_controls{.xcr0_allowed = 3}};
    auto& processor = seat.model.processors[0];
    processor.xcr0 = 0x2e7;
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.cpu.attach(seat.host, seat.processors[0]);
    seat.cpu.set_cr4(x86::cr4::osxsave);
    for (std::uint64_t const value : {1u, 3u, 5u, 7u, 0x203u, 0xe7u, 3u}) {
        seat.model.next = [&](svm_model::guest& g) {
            g.processor.xcr0 = value;
            g.exit(0x78);
        };
        xcr0_recorder handler;
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.seen == (value <= 3 ? "hlt" : "isolation_broken"));
        CHECK(processor.xcr0 == 0x2e7);
        if (value > 3)
            CHECK(handler.host_xcr0 == 0x2e7);
        CHECK(seat.cpu.xcr0() == value);
    }
}

TEST_CASE("a state that the host itself does not keep is no guest's") {
    svm_seat seat; // allows x87, SSE and AVX
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.model.processors[0].xcr0 = 3;
    seat.cpu.attach(seat.host, seat.processors[0]);
    seat.cpu.set_cr4(x86::cr4::osxsave);
    seat.cpu.set_xcr0(7);
    seat.will_exit(exits::hlt{});
    CHECK_FALSE(seat.cpu.holds_hidden_states());
    leave_always handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.holds_hidden_states());
    CHECK(seat.model.processors[0].xcr0 == 3);
}

TEST_CASE("XSAVES and XRSTORS of a guest find no supervisor state") {
    svm_seat seat;
    seat.host.set_cpuid(0, 0, {.eax = 0xd});
    seat.host.set_cpuid(0xd, 1, {.eax = 0xf});
    seat.host.set_msr(x86::msr::ia32_xss, 0x800);
    seat.prepare_msrs();
    modelled_svm::processor processor;
    REQUIRE(processor.enable(seat.host) == status::ok);
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.cpu.attach(seat.host, processor);
    leave_always handler;
    for (int i{0}; i != 3; ++i) {
        std::uint64_t inside{~std::uint64_t{0}};
        seat.model.next = [&](svm_model::guest& g) {
            inside = seat.host.read_msr(x86::msr::ia32_xss).value;
            g.exit(0x78);
        };
        CHECK(modelled_svm::enter(seat.host, processor, seat.cpu, handler) == verdict::leave);
        CHECK(inside == 0);
        CHECK(seat.host.read_msr(x86::msr::ia32_xss).value == 0x800);
    }
    seat.cpu.detach(seat.host, processor);
    processor.disable(seat.host);
    seat.cpu.attach(seat.host, seat.processors[0]);
}

TEST_CASE("whether XSETBV exits is found by trying, and the trial leaves nothing behind") {
    svm_seat seat;
    auto& processor = seat.processors[0];
    auto& hardware = seat.model.processors[0];
    seat.cpu.detach(seat.host, processor);
    hardware.xcr0 = 7;
    CHECK_FALSE(processor.examine(seat.host).xsetbv_intercepted);
    std::uint64_t inside{}, cr4{}, efer{};
    auto const answer = [&](std::uint64_t code) {
        seat.model.next = [&, code](svm_model::guest& g) {
            inside = g.processor.xcr0;
            cr4 = g.state.save.cr4;
            efer = g.state.save.efer;
            auto const where = g.reach(gpa{at<std::uint64_t>(g.state, 0x418) + g.state.save.rip}, access::execute);
            REQUIRE(where);
            auto const* const bytes = static_cast<unsigned char const*>(seat.host.pointer(*where));
            CHECK(std::string{bytes, bytes + 7} == std::string{"\x0f\x01\xd0\x0f\x01\xd1\xf4"});
            g.exit(code);
        };
        modelled_svm::try_out(seat.host, processor);
        CHECK(hardware.xcr0 == 7);
        return processor.examine(seat.host).xsetbv_intercepted;
    };
    CHECK(answer(0x8d));
    CHECK(inside == 1);
    CHECK(cr4 == x86::cr4::osxsave);
    CHECK((efer & x86::efer::lme) == 0);
    CHECK_FALSE(answer(0x78));
    CHECK_FALSE(answer(0x7f));
    int interrupts{};
    svm_model::program again = [&](svm_model::guest& g) {
        if (++interrupts < 5)
            seat.model.next = again;
        g.exit(interrupts < 5 ? 0x60 : 0x8d);
    };
    seat.model.next = again;
    modelled_svm::try_out(seat.host, processor);
    CHECK(interrupts == 5);
    CHECK(processor.examine(seat.host).xsetbv_intercepted);

    seat.host.set_cpuid(1, 0, {.ecx = 1u << 26}); // no OSXSAVE
    seat.prepare_msrs();
    modelled_svm::processor without;
    REQUIRE(without.enable(seat.host) == status::ok);
    auto const entries = seat.model.entries;
    modelled_svm::try_out(seat.host, without);
    CHECK(seat.model.entries == entries);
    CHECK_FALSE(without.examine(seat.host).xsetbv_intercepted);
    without.disable(seat.host);
    seat.cpu.attach(seat.host, processor);
}

TEST_CASE("an exit that is called invalid long after the entry leaves nothing to deliver again") {
    svm_seat seat; // QEMU, of a guest's MOV to CR3 with reserved bits
    seat.cpu.inject(event::make(x86::exception::general_protection, 0));
    seat.model.next = [&](svm_model::guest& g) {
        const_cast<vmcb&>(seat.cpu.block()).control.eventinj = 0; // at the delivery
        g.exit(~std::uint64_t{0});
    };
    recording_handler handler;
    static_cast<void>(seat.enter(handler));
    CHECK(handler.last() == "entry_failed");
    CHECK_FALSE(seat.cpu.injection_pending());
}

TEST_CASE("XSA-278: CR4 bits whose state is not switched do not reach the processor") {
    svm_seat seat;
    seat.cpu.set_cr4(x86::cr4::vmxe | x86::cr4::smxe | x86::cr4::pke | x86::cr4::cet | x86::cr4::pae);
    look(seat, [](vmcb const& b) { CHECK(at<std::uint64_t>(b, 0x548) == x86::cr4::pae); });
}

TEST_CASE("XSA-170, XSA-308: what the processor refuses ends the guest with a reason") {
    struct broken {
        std::uint64_t cr4, cr0, efer;
        char const* reason;
    };
    for (auto const& b :
         {broken{0, 0x8000'0011, 0x100, "CR4.PAE is zero"}, broken{0x20, 0x8000'0010, 0x100, "CR0.PE is zero"}}) {
        svm_seat seat;
        seat.cpu.set_cr4(b.cr4);
        seat.cpu.set_efer(b.efer);
        seat.cpu.set_cr0(b.cr0);
        recording_handler handler;
        CHECK(seat.enter(handler) == verdict::leave);
        REQUIRE(handler.last() == "entry_failed");
        auto const reason = std::string{std::get<exits::entry_failed>(handler.exits.back()).reason};
        CHECK(reason.find(b.reason) != std::string::npos);
    }
    svm_seat seat;
    recording_handler handler;
    seat.cpu.inject({0x8000'0720}); // a type that only Intel has
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "entry_failed");
    CHECK(std::string{std::get<exits::entry_failed>(handler.exits.back()).reason}.find("illegal event") == 0);
    // Whatever comes in through the setters, the fields that they own stay valid.
    svm_seat other;
    other.cpu.set_cr0(~std::uint64_t{0});
    other.cpu.set_cr4(x86::cr4::pae);
    other.cpu.set_efer(0);
    other.cpu.set_debug_register(6, ~std::uint64_t{0});
    other.cpu.set_debug_register(7, ~std::uint64_t{0});
    other.cpu.set_rflags(0);
    look(other, [](vmcb const&) {});
}

TEST_CASE("the reason of a refused entry is the guest's, and its event waits, where the processor spoils the VMCB") {
    svm_seat seat;
    seat.model.keeps_refused = false;
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.cpu.set_efer(x86::efer::lme);
    seat.cpu.set_cr0(x86::cr0::pg | x86::cr0::pe);
    seat.cpu.attach(seat.host, seat.processors[0]);
    auto const reason = [&seat] {
        recording_handler handler;
        CHECK(seat.enter(handler) == verdict::leave);
        REQUIRE(handler.last() == "entry_failed");
        return std::string{std::get<exits::entry_failed>(handler.exits.back()).reason};
    };
    CHECK(reason() == "EFER.LME and CR0.PG are both set and CR4.PAE is zero");
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.cpu.set_efer(0);
    seat.cpu.set_cr0(x86::cr0::et);
    seat.cpu.attach(seat.host, seat.processors[0]);
    look(seat, [](vmcb const&) {});
    event const impossible{event::valid_bit | 1u << 8};
    seat.cpu.inject(impossible);
    CHECK(reason() == "illegal event injection: reserved type");
    CHECK(seat.cpu.withdraw_injection() == impossible);
}
