// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "svm_look.hpp"

#include <hv/backends/svm.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace hv;
using namespace hv::test;

TEST_CASE("every register that a setter changes is what the processor works with next") {
    // The processor holds a clean copy of everything after the first entry; a setter that forgets its clean bit loses.
    svm_seat seat;
    auto& cpu = seat.cpu;
    using enum x86::segment_name;
    auto const segment = x86::segment{.base = 0x1234, .limit = 0x5678, .access = 0x40f3, .selector = 0x33};
    struct change {
        char const* name;
        std::function<void()> make;
        std::size_t offset;
        std::uint64_t value;
    };
    std::vector<change> const changes{
        {"cr0", [&] { cpu.set_cr0(0x8001'0031); }, 0x558, 0x8001'0031},
        {"cr2", [&] { cpu.set_cr2(0x1111); }, 0x640, 0x1111},
        {"cr3", [&] { cpu.set_cr3(0x2000); }, 0x550, 0x2000},
        {"cr4", [&] { cpu.set_cr4(0x6b0); }, 0x548, 0x6b0},
        {"efer", [&] { cpu.set_efer(0x801); }, 0x4d0, 0x1801},
        {"dr6", [&] { cpu.set_debug_register(6, 0xffff'0ff1); }, 0x568, 0xffff'0ff1},
        {"dr7", [&] { cpu.set_debug_register(7, 0x401); }, 0x560, 0x401},
        {"gdtr base", [&] { cpu.set_gdtr({.base = 0x9000, .limit = 0x7f}); }, 0x468, 0x9000},
        {"idtr base", [&] { cpu.set_idtr({.base = 0xa000, .limit = 0xfff}); }, 0x488, 0xa000},
        {"es", [&] { cpu.set_segment(es, segment); }, 0x400, 0x0000'5678'04f3'0033},
        {"cs", [&] { cpu.set_segment(cs, segment); }, 0x410, 0x0000'5678'04f3'0033},
        {"ss", [&] { cpu.set_segment(ss, segment); }, 0x420, 0x0000'5678'04f3'0033},
        {"ds", [&] { cpu.set_segment(ds, segment); }, 0x430, 0x0000'5678'04f3'0033},
        {"fs", [&] { cpu.set_segment(fs, segment); }, 0x440, 0x0000'5678'04f3'0033},
        {"gs", [&] { cpu.set_segment(gs, segment); }, 0x450, 0x0000'5678'04f3'0033},
        {"ldtr", [&] { cpu.set_segment(ldtr, segment); }, 0x470, 0x0000'5678'04f3'0033},
        {"tr", [&] { cpu.set_segment(tr, segment); }, 0x490, 0x0000'5678'04f3'0033},
        {"rip", [&] { cpu.set_rip(0x7777); }, 0x578, 0x7777},
        {"rsp", [&] { cpu.set_gpr(x86::gpr::rsp, 0x8888); }, 0x5d8, 0x8888},
        {"rax", [&] { cpu.set_gpr(x86::gpr::rax, 0x9999); }, 0x5f8, 0x9999},
        {"rflags", [&] { cpu.set_rflags(0x246); }, 0x570, 0x246},
        {"pat", [&] { CHECK(cpu.set_msr(x86::msr::ia32_pat, 0x0606) == status::ok); }, 0x668, 0x0606},
        {"star", [&] { CHECK(cpu.set_msr(x86::msr::ia32_star, 1) == status::ok); }, 0x600, 1},
        {"lstar", [&] { CHECK(cpu.set_msr(x86::msr::ia32_lstar, 2) == status::ok); }, 0x608, 2},
        {"cstar", [&] { CHECK(cpu.set_msr(x86::msr::ia32_cstar, 3) == status::ok); }, 0x610, 3},
        {"fmask", [&] { CHECK(cpu.set_msr(x86::msr::ia32_fmask, 4) == status::ok); }, 0x618, 4},
        {"kernel gs", [&] { CHECK(cpu.set_msr(x86::msr::ia32_kernel_gs_base, 5) == status::ok); }, 0x620, 5},
        {"sysenter cs", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_cs, 6) == status::ok); }, 0x628, 6},
        {"sysenter esp", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_esp, 7) == status::ok); }, 0x630, 7},
        {"sysenter eip", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_eip, 8) == status::ok); }, 0x638, 8},
        {"fs base", [&] { CHECK(cpu.set_msr(x86::msr::ia32_fs_base, 9) == status::ok); }, 0x448, 9},
        {"gs base", [&] { CHECK(cpu.set_msr(x86::msr::ia32_gs_base, 10) == status::ok); }, 0x458, 10},
        {"tsc offset", [&] { cpu.set_tsc_offset(0xfff0); }, 0x050, 0xfff0},
        {"task priority", [&] { cpu.set_task_priority(5); }, 0x060, 0x0100'0005},
        {"shadow", [&] { cpu.set_interrupt_shadow(true); }, 0x068, 1},
        {"event", [&] { cpu.inject(event::make(event_type::external_interrupt, 0x30)); }, 0x0a8, 0x8000'0030},
        {"nmi", [&] { cpu.set_nmi_blocked(true); }, 0x00c, 0x0000'7e7f'fd5c'800f},
        {"window", [&] { cpu.request_interrupt_window(true); }, 0x060, 0x011f'0105},
    };
    look(seat, [](vmcb const&) {});
    for (auto const& c : changes) {
        CAPTURE(c.name);
        c.make();
        look(seat, [&](vmcb const& b) { CHECK(at<std::uint64_t>(b, c.offset) == c.value); });
    }
    CHECK(cpu.cpl() == 3);
}

TEST_CASE("LMA is LME and CR0.PG, also where the processor cleared it before a write to CR0 exited") {
    svm_seat seat;
    auto& cpu = seat.cpu;
    cpu.set_cr4(x86::cr4::pae);
    cpu.set_cr0(0x8001'0031);
    cpu.set_efer(x86::efer::lme);
    seat.model.next = [](svm_model::guest& g) {
        g.state.write(g.state.save.efer, g.state.save.efer & ~x86::efer::lma);
        g.exit(0x10);
    };
    recording_handler handler;
    (void)seat.enter(handler);
    CHECK(cpu.efer() == (x86::efer::lme | x86::efer::lma));
    cpu.set_cr0(0x0001'0031);
    CHECK(cpu.efer() == x86::efer::lme);
}

TEST_CASE("a software interrupt of the guest's own is forgotten: its instruction executes again") {
    svm_seat seat;
    recording_handler handler;
    auto const fault = exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}};
    for (auto const own : {event::make(event_type::software_interrupt, 0x80), event::make(x86::exception::breakpoint),
                           event::make(x86::exception::overflow), event::make(event_type::external_interrupt, 0x21)}) {
        seat.will_exit(fault, 0, own);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
    }
    for (auto const fatal : {event::make(x86::exception::page_fault, 2), event::make(event_type::nmi, 2)}) {
        seat.will_exit(fault, 0, fatal);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.take_interrupted_event() == fatal);
    }
}

TEST_CASE("where the shadow of STI is lost at VMRUN, the window still opens behind the next instruction") {
    svm_seat seat;
    seat.model.keeps_shadow = false;
    auto& cpu = seat.cpu;
    cpu.set_rip(0x1000);
    cpu.set_rflags(x86::rflags::interrupt);
    cpu.set_debug_register(6, 0xffff'0ff1);
    cpu.set_interrupt_shadow(true);
    cpu.request_interrupt_window(true);
    recording_handler handler;

    SECTION("behind an instruction that does not exit") {
        seat.model.next = [](svm_model::guest& g) {
            CHECK((g.state.save.rflags & x86::rflags::tf) != 0);
            g.state.save.rip += 3;
            g.state.write(g.state.save.dr6, g.state.save.dr6 | 0x4000);
            g.exit(0x41);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "interrupt_window");
        CHECK(cpu.rip() == 0x1003);
    }
    SECTION("also if a host interrupt came first") {
        seat.model.next = [](svm_model::guest& g) { g.exit(0x60); };
        cpu.request_interrupt_window(false);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "host_interrupt");
        CHECK(cpu.interrupt_shadow());
    }
    SECTION("and if one came before the step") {
        seat.model.next = [](svm_model::guest& g) { g.exit(0x60); };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "host_interrupt");
        CHECK(cpu.interrupt_shadow()); // or the interrupt would be delivered at the HLT, and slept over
    }
    SECTION("never, if it exits: HLT is the handler's") {
        seat.model.next = [](svm_model::guest& g) { g.exit(0x78); };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "hlt");
        CHECK(cpu.rip() == 0x1000);
        cpu.set_rip(0x1001);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "interrupt_window"); // still asked for
    }
    CHECK(handler.seen.size() <= 2);
    CHECK((cpu.rflags() & x86::rflags::tf) == 0);
    CHECK(cpu.debug_register(6) == 0xffff'0ff1);
}

TEST_CASE("a guest that steps itself through a shadow keeps its trap") {
    svm_seat seat;
    seat.model.keeps_shadow = false;
    seat.cpu.set_rflags(x86::rflags::interrupt | x86::rflags::tf);
    seat.cpu.set_interrupt_shadow(true);
    seat.cpu.request_interrupt_window(true);
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "interrupt_window");
    CHECK((seat.cpu.rflags() & x86::rflags::tf) != 0);
}

TEST_CASE("a single step that the processor does not note, as on Bochs, is in DR6 all the same") {
    svm_seat seat;
    recording_handler handler;
    seat.model.next = [](svm_model::guest& g) { g.exit(0x41); };
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK((seat.cpu.debug_register(6) & 0xe00f) == 0); // a #DB without TF is none
    seat.cpu.set_rflags(x86::rflags::tf);
    seat.model.next = [](svm_model::guest& g) { g.exit(0x41); };
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.debug_register(6) == 0xffff'4ff0);
    CHECK(handler.last() == summary(exits::exception{x86::exception::debug, 0, 0x4000}));
    seat.cpu.set_debug_register(6, 0xffff'0ff0);
    seat.model.next = [](svm_model::guest& g) {
        g.state.write(g.state.save.dr6, 0xffff'0ff2);
        g.exit(0x41);
    };
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == summary(exits::exception{x86::exception::debug, 0, 2}));
}

TEST_CASE("the words of a refused processor name what it lacks") {
    hosted::host host{hosted::host_config{.memory = std::size_t{16} << 20}};
    modelled_svm::processor p;
    auto const missing = [&] { return std::string{p.examine(host).missing}; };
    CHECK(missing().find("SVM (CPUID") == 0);
    host.set_cpuid(0x8000'0000, 0, {.eax = 0x8000'0009});
    host.set_cpuid(0x8000'0001, 0, {.ecx = 4});
    CHECK(missing().find("SVM (CPUID") == 0);
    host.set_cpuid(0x8000'0000, 0, {.eax = 0x8000'000a});
    CHECK(missing().find("nested paging") == 0);
    host.set_cpuid(0x8000'000a, 0, {.ebx = 1, .edx = 1});
    CHECK(missing().find("EFER.NXE") == 0);
    host.set_msr(x86::msr::ia32_efer, 0x500);
    CHECK(missing().find("EFER.NXE") == 0);
    host.set_msr(x86::msr::ia32_efer, 0xd00);
    CHECK(missing().find("an address space identifier") == 0);
    host.set_cpuid(0x8000'000a, 0, {.ebx = 16, .edx = 1});
    CHECK(missing().empty());
    CHECK(p.examine(host).verdict == status::ok);
    host.set_msr(x86::msr::amd_vm_cr, 0x10);
    CHECK(missing().find("SVM, which the firmware turned off") == 0);
    CHECK(p.examine(host).verdict == status::no_device);
    CHECK(p.enable(host) == status::no_device);
    CHECK(host.msr_writes().empty());
    host.set_msr(x86::msr::amd_vm_cr, 0);
    CHECK(p.enable(host) == status::no_device); // VM_HSAVE_PA does not exist
    CHECK(host.read_msr(x86::msr::ia32_efer).value == 0xd00);
    CHECK(host.bytes_in_use() == 0);
    host.set_msr(x86::msr::amd_vm_hsave_pa, 0);
    host.fail_after(0);
    CHECK(p.enable(host) == status::out_of_memory);
    host.fail_after(host.unlimited);
    CHECK(p.enable(host) == status::ok);
    CHECK(host.read_msr(x86::msr::ia32_efer).value == 0x1d00);
    CHECK(host.read_msr(x86::msr::amd_vm_hsave_pa).value % page_size == 0);
    CHECK(host.read_msr(x86::msr::amd_vm_hsave_pa).value != 0);
    p.disable(host);
    CHECK(host.read_msr(x86::msr::ia32_efer).value == 0xd00);
    CHECK(host.read_msr(x86::msr::amd_vm_hsave_pa).value == 0);
    CHECK(host.bytes_in_use() == 0);
}

TEST_CASE("an exit that stands for an opcode behind 0Fh tells how long that is") {
    svm_seat seat;
    recording_handler handler;
    auto const length_after = [&](script::any_exit const& exit) {
        seat.will_exit(exit);
        CHECK(seat.enter(handler) == verdict::leave);
        return unsigned{seat.cpu.opcode_length()};
    };
    CHECK(length_after(exits::cpuid{}) == 2);
    CHECK(length_after(exits::msr_read{0x10}) == 2);
    CHECK(length_after(exits::msr_write{0x10, 0}) == 2);
    CHECK(length_after(exits::hypercall{}) == 3);
    CHECK(length_after(exits::hlt{}) == 0);
    CHECK(length_after(exits::tsc_read{}) == 0); // QEMU: RDTSC, or RDTSCP of three bytes
}

TEST_CASE("what decides how instructions are fetched differs after each change of it, and after no other") {
    svm_seat seat;
    auto& cpu = seat.cpu;
    cpu.set_cr0(0x8000'0031);
    cpu.set_cr4(0x20);
    cpu.set_efer(0x500);
    auto before = cpu.fetch_state();
    auto const moved = [&] {
        auto const now = cpu.fetch_state();
        return std::exchange(before, now) != now;
    };
    cpu.set_cr0(0x8001'0031); // WP
    CHECK(moved());
    cpu.set_cr0(0x8001'0039); // TS
    CHECK_FALSE(moved());
    cpu.set_cr4(0x10'0020); // SMEP
    CHECK(moved());
    cpu.set_cr4(0x20);
    CHECK(moved());      // the count does not come back to where it was
    cpu.set_efer(0xd00); // NXE
    CHECK(moved());
    cpu.set_efer(0xd00);
    CHECK_FALSE(moved());
    cpu.set_cr3(0x5000);
    CHECK(moved());
    cpu.set_segment(x86::segment_name::cs, {.limit = 0xffff'ffff, .access = 0xa09b, .selector = 8});
    CHECK(moved());
    cpu.set_segment(x86::segment_name::ss, {.limit = 0xffff'ffff, .access = 0xc0f3, .selector = 0x2b}); // CPL 3
    CHECK(moved());
    cpu.set_rflags(0x246);
    CHECK_FALSE(moved());
}

TEST_CASE("a host interrupt before the IRET that ends an NMI handler changes nothing for the next NMI") {
    svm_seat seat;
    auto& cpu = seat.cpu;
    recording_handler handler{.answer = verdict::resume};
    cpu.set_nmi_blocked(true);
    seat.will_iret();
    REQUIRE(seat.enter(handler) == verdict::resume);
    REQUIRE(handler.last() == "nmi_window");
    cpu.request_nmi_window();
    seat.model.next = [](svm_model::guest& g) {
        CHECK((g.state.save.rflags & x86::rflags::tf) != 0);
        g.state.control.interrupt_shadow = 0; // as QEMU forgets it
        g.exit(0x60);
    };
    CHECK(seat.enter(handler) == verdict::resume);
    CHECK(handler.last() == "host_interrupt");
    CHECK(cpu.interrupt_shadow()); // or the NMI would be delivered on the handler's frame
    CHECK((cpu.rflags() & x86::rflags::tf) == 0);
    cpu.request_nmi_window();
    seat.model.next = [](svm_model::guest& g) { // the IRET gives back flags of a guest that steps itself
        g.state.save.rip += 1;
        g.state.save.rflags |= x86::rflags::tf;
        g.state.control.interrupt_shadow = 0;
        g.state.write(g.state.save.dr6, 0xffff'4ff0);
        g.exit(0x41);
    };
    CHECK(seat.enter(handler) == verdict::resume);
    CHECK(handler.last() == "nmi_window");
    CHECK((cpu.rflags() & x86::rflags::tf) != 0);
}
