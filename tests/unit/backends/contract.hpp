// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "exit_summary.hpp"

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/exception.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>
#include <vector>

/// The contract of the backend seam, as tests that run on every backend. Whoever includes this file has defined
/// `hv::test::seats`: a type list of seats (svm_seat.hpp, fake_seat.hpp), each one vCPU that can be told what its guest
/// does next.
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

TEMPLATE_LIST_TEST_CASE("every exit arrives once, with what it says", "", seats) {
    using namespace exits;
    using enum x86::segment_name;
    instruction_bytes some{};
    some.count = 3;
    some.bytes = {0x8b, 0x07, 0x90};
    using form = control_register::form;
    std::vector<script::any_exit> const all{
        io_port{0x3f8, 1, false, false, false, 0, ds, false},
        io_port{0x60, 1, true, false, false, 0, ds, false},
        io_port{0xcf8, 4, false, false, false, 4, ds, false},
        io_port{0x1f0, 2, true, true, true, 2, ds, false},
        io_port{0xffff, 2, false, true, true, 8, fs, true},
        exits::cpuid{},
        hlt{},
        msr_read{0xc000'0080},
        msr_write{0x277, 0x1234'5678'9abc'def0},
        nested_page_fault{gpa{0xfee0'0300}, access::write, false, false, {}},
        nested_page_fault{gpa{0x1000}, access::read, true, true, {}},
        nested_page_fault{gpa{0xffff'f000}, access::execute, false, true, {}},
        nested_page_fault{gpa{0xfec0'0000}, access::read, false, false, some},
        control_register{0, true, true, form::mov, x86::gpr::rbx, 0},
        control_register{4, true, true, form::mov, x86::gpr::r15, 0},
        control_register{0, false, true, form::mov, x86::gpr::rax, 0},
        control_register{8, true, false, form::mov, x86::gpr::rax, 0},
        debug_register{7, true, true, x86::gpr::rsi},
        debug_register{6, false, true, x86::gpr::r8},
        exits::exception{x86::exception::alignment_check, 0, 0},
        exits::exception{x86::exception::general_protection, 0x1234, 0},
        exits::exception{x86::exception::page_fault, 6, 0xdead'beef'000},
        exits::exception{x86::exception::debug, 0, 0x4001},
        exits::exception{x86::exception::invalid_opcode, 0, 0},
        hypercall{},
        undefined_instruction{},
        xsetbv{0, 0x1'0000'0007},
        cache_control{},
        pause{},
        monitor{},
        mwait{},
        tsc_read{false},
        tsc_read{true},
        rdpmc{},
        interrupt_window{},
        nmi_window{},
        host_interrupt{},
        machine_check{},
        task_switch{0x28, task_switch::source::call, false, 0},
        task_switch{0x30, task_switch::source::jmp, false, 0},
        task_switch{0x38, task_switch::source::iret, false, 0},
        task_switch{0x40, task_switch::source::gate, true, 0x18},
        triple_fault{},
        unknown{0x404, {1, 2}},
    };
    for (auto const& expected : all) {
        TestType seat;
        recording_handler handler;
        seat.will_exit(expected);
        CHECK(seat.enter(handler) == verdict::leave);
        REQUIRE(handler.seen.size() == 1);
        CHECK(handler.last() == summary(expected));
    }
}

TEMPLATE_LIST_TEST_CASE("the handler's verdict comes back unchanged", "", seats) {
    for (auto const answer : {verdict::resume, verdict::advance, verdict::leave}) {
        TestType seat;
        recording_handler handler{.answer = answer};
        seat.will_exit(exits::cpuid{});
        CHECK(seat.enter(handler) == answer);
    }
}

/// How often the host had taken interrupts when the handler ran.
template <typename Host>
struct interrupt_count {
    Host& host;
    std::uint64_t taken{};
    auto on(auto const&) -> verdict {
        taken = host.interrupt_windows();
        return verdict::leave;
    }
};

TEMPLATE_LIST_TEST_CASE("host interrupts are taken before the handler runs, and only for them", "", seats) {
    TestType seat;
    interrupt_count handler{seat.host};
    seat.will_exit(exits::cpuid{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.taken == 0);
    seat.will_exit(exits::host_interrupt{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.taken == 1);
}

TEMPLATE_LIST_TEST_CASE("the length of the instruction comes with its exit and with no other", "", seats) {
    TestType seat;
    recording_handler handler;
    for (std::uint8_t length{1}; length <= 15; ++length) {
        seat.cpu.set_rip(0x1000);
        seat.will_exit(exits::cpuid{}, length);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == length);
    }
    seat.cpu.set_rip(0x1000);
    seat.will_exit(exits::nested_page_fault{gpa{0}, access::read, false, false, {}});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.instruction_length() == 0);
}

TEMPLATE_LIST_TEST_CASE("an event in the slot is delivered by the next entry, once", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    recording_handler handler;
    CHECK_FALSE(cpu.injection_pending());
    auto const e = event::make(x86::exception::general_protection, 0x18);
    cpu.inject(e);
    CHECK(cpu.injection_pending());
    CHECK(seat.delivered().empty());
    for (int i{0}; i < 2; ++i) {
        seat.will_exit(exits::hlt{});
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK_FALSE(cpu.injection_pending());
        CHECK(seat.delivered() == std::vector{e});
    }
    CHECK_FALSE(cpu.take_interrupted_event().valid());
}

TEMPLATE_LIST_TEST_CASE("an event that was withdrawn is never delivered", "", seats) {
    TestType seat;
    recording_handler handler;
    auto const e = event::make(event_type::external_interrupt, 0x40);
    CHECK_FALSE(seat.cpu.withdraw_injection().valid());
    seat.cpu.inject(e);
    CHECK(seat.cpu.withdraw_injection() == e);
    CHECK_FALSE(seat.cpu.injection_pending());
    CHECK_FALSE(seat.cpu.withdraw_injection().valid());
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.delivered().empty());
}

TEMPLATE_LIST_TEST_CASE("an event whose delivery exited comes back once", "", seats) {
    for (auto const e : {event::make(event_type::external_interrupt, 0x51), event::make(x86::exception::page_fault, 2),
                         event::make(event_type::software_interrupt, 0x80), event::make(x86::exception::breakpoint)}) {
        TestType seat;
        recording_handler handler;
        seat.cpu.inject(e);
        seat.delivery_will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}});
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.delivered().empty());
        CHECK_FALSE(seat.cpu.injection_pending());
        CHECK(seat.cpu.take_interrupted_event() == e);
        CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
    }
}

TEMPLATE_LIST_TEST_CASE("an interrupted event that nobody took does not outlive the next exit", "", seats) {
    TestType seat;
    recording_handler handler;
    seat.will_exit(exits::hlt{}, 1, event::make(x86::exception::page_fault, 2));
    CHECK(seat.enter(handler) == verdict::leave);
    seat.will_exit(exits::hlt{}, 1);
    seat.cpu.set_rip(seat.cpu.rip() + 1);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
}

TEMPLATE_LIST_TEST_CASE("NMIs are blocked from the delivery of one to its IRET", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    recording_handler handler{.answer = verdict::resume};
    auto const nmi = event::make(event_type::nmi, 2);
    CHECK_FALSE(cpu.nmi_blocked());
    cpu.inject(nmi);
    CHECK_FALSE(cpu.nmi_blocked()); // not delivered yet
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::resume);
    CHECK(seat.delivered() == std::vector{nmi});
    CHECK(cpu.nmi_blocked());

    SECTION("taking an interrupt back from the slot does not end it") {
        cpu.inject(event::make(event_type::external_interrupt, 0x40));
        CHECK(cpu.withdraw_injection().valid());
        CHECK(cpu.nmi_blocked());
    }
    SECTION("the IRET exits before it executes and keeps the next NMI off for one instruction") {
        seat.will_iret();
        CHECK(seat.enter(handler) == verdict::resume);
        CHECK(handler.last() == "nmi_window");
        CHECK_FALSE(cpu.nmi_blocked());
        CHECK(cpu.interrupt_shadow());
    }
    SECTION("moving to another processor does not end it") {
        seat.move_to(1);
        CHECK(cpu.nmi_blocked());
    }
    SECTION("it can be saved and restored") {
        cpu.set_nmi_blocked(false);
        CHECK_FALSE(cpu.nmi_blocked());
        cpu.set_nmi_blocked(true);
        CHECK(cpu.nmi_blocked());
        seat.will_iret();
        CHECK(seat.enter(handler) == verdict::resume);
        CHECK(handler.last() == "nmi_window");
    }
}

TEMPLATE_LIST_TEST_CASE("an IRET without an NMI before it does not exit", "", seats) {
    TestType seat;
    recording_handler handler;
    seat.will_iret();
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "hlt");
}

TEMPLATE_LIST_TEST_CASE("an NMI that was withdrawn or cut short blocks no other", "", seats) {
    TestType seat;
    recording_handler handler;
    auto const nmi = event::make(event_type::nmi, 2);
    seat.cpu.inject(nmi);
    CHECK(seat.cpu.withdraw_injection() == nmi);
    CHECK_FALSE(seat.cpu.nmi_blocked());
    seat.cpu.inject(nmi);
    seat.delivery_will_exit(exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.take_interrupted_event() == nmi);
    CHECK_FALSE(seat.cpu.nmi_blocked());
}

TEMPLATE_LIST_TEST_CASE("the interrupt window opens when the guest can take an interrupt, once a request", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    recording_handler handler;
    auto const enter = [&] {
        seat.will_exit(exits::hlt{});
        CHECK(seat.enter(handler) == verdict::leave);
        return handler.last();
    };
    cpu.set_rflags(x86::rflags::interrupt);
    CHECK(enter() == "hlt");

    cpu.request_interrupt_window(true);
    cpu.set_rflags(0);
    CHECK(enter() == "hlt");
    cpu.set_rflags(x86::rflags::interrupt);
    cpu.set_interrupt_shadow(true);
    CHECK(enter() == "hlt");
    cpu.set_interrupt_shadow(false);
    CHECK(enter() == "interrupt_window");
    CHECK(enter() == "hlt");

    for (std::uint8_t priority{0}; priority < 16; ++priority) { // CR8 does not hold it back
        cpu.set_task_priority(priority);
        cpu.request_interrupt_window(true);
        cpu.request_interrupt_window(true);
        CHECK(enter() == "interrupt_window");
        CHECK(cpu.task_priority() == priority);
        CHECK(enter() == "hlt");
    }
    cpu.request_interrupt_window(true);
    cpu.request_interrupt_window(false);
    CHECK(enter() == "hlt");
}

TEMPLATE_LIST_TEST_CASE("a guest with an event on its way gets it before its window opens", "", seats) {
    TestType seat;
    recording_handler handler;
    seat.cpu.set_rflags(x86::rflags::interrupt);
    seat.cpu.request_interrupt_window(true);
    seat.cpu.inject(event::make(event_type::external_interrupt, 0x31));
    seat.will_exit(exits::hlt{});
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "hlt"); // interrupts are off in the handler of the first
    CHECK(seat.delivered().size() == 1);
}

TEMPLATE_LIST_TEST_CASE("moving RIP ends the interrupt shadow", "", seats) {
    TestType seat;
    auto& cpu = seat.cpu;
    cpu.set_rip(0x1000);
    cpu.set_interrupt_shadow(true);
    cpu.set_rip(0x1000);
    CHECK(cpu.interrupt_shadow());
    cpu.set_rip(0x1002);
    CHECK_FALSE(cpu.interrupt_shadow());
}

TEMPLATE_LIST_TEST_CASE("CR8 has four bits", "", seats) {
    TestType seat;
    seat.cpu.request_interrupt_window(true);
    for (unsigned priority{0}; priority < 16; ++priority) {
        seat.cpu.set_task_priority(static_cast<std::uint8_t>(priority));
        CHECK(seat.cpu.task_priority() == priority);
        seat.cpu.set_task_priority(static_cast<std::uint8_t>(priority | 0xf0));
        CHECK(seat.cpu.task_priority() == priority);
    }
}

/// Two pages of host memory that a guest page can be mapped to.
template <typename Seat>
struct two_pages {
    explicit two_pages(Seat& s) : seat{s} {
        for (unsigned i{0}; i < 2; ++i) {
            page[i] = static_cast<std::uint64_t*>(seat.host.allocate(page_size, page_size));
            page[i][0] = 100 + i;
        }
    }
    ~two_pages() {
        for (auto* p : page)
            seat.host.free(p, page_size);
    }
    two_pages(two_pages const&) = delete;
    auto operator=(two_pages const&) -> two_pages& = delete;
    void map(unsigned i, access allowed = access::read | access::write | access::execute) {
        REQUIRE(seat.tables.map(seat.host, gpa{0x5000}, seat.host.physical(page[i]), page_size, allowed,
                                memory_type::write_back) == status::ok);
    }
    /// What the guest reads at 5000h: the value, or nothing if that exits.
    auto read() -> std::uint64_t {
        recording_handler handler;
        seat.will_load(gpa{0x5000});
        CHECK(seat.enter(handler) == verdict::leave);
        return handler.last() == "hlt" ? seat.loaded : 0;
    }
    Seat& seat;
    std::uint64_t* page[2]{};
};

TEMPLATE_LIST_TEST_CASE("a processor keeps a translation until the vCPU flushes", "", seats) {
    TestType seat;
    two_pages<TestType> pages{seat};
    CHECK(pages.read() == 0);
    pages.map(0);
    CHECK(pages.read() == 100); // what was not mapped needs no flush
    pages.map(1);
    CHECK(pages.read() == 100); // stale: this is what a forgotten flush looks like
    seat.cpu.flush_translations();
    CHECK(pages.read() == 101);
    REQUIRE(seat.tables.unmap(seat.host, gpa{0x5000}, page_size) == status::ok);
    seat.cpu.flush_translations();
    CHECK(pages.read() == 0);
}

TEMPLATE_LIST_TEST_CASE("a vCPU that comes back to a processor does not find its old translations there", "", seats) {
    TestType seat;
    two_pages<TestType> pages{seat};
    pages.map(0);
    CHECK(pages.read() == 100);
    seat.move_to(1);
    pages.map(1);
    seat.cpu.flush_translations();
    CHECK(pages.read() == 101);
    seat.move_to(0);
    CHECK(pages.read() == 101);
}

TEMPLATE_LIST_TEST_CASE("a nested page fault says what was wanted and whether a mapping was there", "", seats) {
    TestType seat;
    two_pages<TestType> pages{seat};
    recording_handler handler;
    seat.will_store(gpa{0x5008}, 7);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() ==
          summary(exits::nested_page_fault{gpa{0x5008}, access::write, false, false, instruction_bytes{}}));
    pages.map(0, access::read);
    seat.will_store(gpa{0x5008}, 7);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() ==
          summary(exits::nested_page_fault{gpa{0x5008}, access::write, false, true, instruction_bytes{}}));
    pages.map(0);
    seat.will_store(gpa{0x5008}, 7); // more rights need no flush
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "hlt");
    CHECK(pages.page[0][1] == 7);
}

TEMPLATE_LIST_TEST_CASE("stores to a remembered page do not set its dirty bit again before a flush", "", seats) {
    TestType seat;
    two_pages<TestType> pages{seat};
    recording_handler handler;
    auto const store = [&] {
        seat.will_store(gpa{0x5000}, 1);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "hlt");
    };
    pages.map(0);
    store();
    CHECK(seat.tables.clear_dirty(seat.host, gpa{0x5000}));
    store();
    CHECK_FALSE(seat.tables.clear_dirty(seat.host, gpa{0x5000}));
    seat.cpu.flush_translations();
    store();
    CHECK(seat.tables.clear_dirty(seat.host, gpa{0x5000}));
}

TEMPLATE_LIST_TEST_CASE("creation that runs out of memory leaves nothing behind", "", seats) {
    using backend = typename TestType::backend;
    TestType seat;
    auto const before = seat.host.bytes_in_use();
    for (std::uint64_t allowed{0}; allowed < 8; ++allowed) {
        typename backend::vm machine;
        typename backend::vcpu cpu;
        seat.host.fail_after(allowed);
        auto made = machine.create(seat.host, {});
        if (made == status::ok)
            made = cpu.create(seat.host, machine);
        seat.host.fail_after(seat.host.unlimited);
        CHECK((made == status::ok or made == status::out_of_memory));
        CHECK((allowed != 0 or made == status::out_of_memory));
        cpu.destroy(seat.host);
        machine.destroy(seat.host);
        cpu.destroy(seat.host);
        machine.destroy(seat.host);
        CHECK(seat.host.bytes_in_use() == before);
    }
}

TEMPLATE_LIST_TEST_CASE("a processor cannot be enabled twice and can be enabled again", "", seats) {
    typename TestType::backend::processor p;
    TestType seat;
    if constexpr (requires { seat.prepare_msrs(); })
        seat.prepare_msrs();
    auto const before = seat.host.bytes_in_use();
    CHECK(p.examine(seat.host).verdict == status::ok);
    CHECK(p.examine(seat.host).missing.empty());
    CHECK(p.enable(seat.host) == status::ok);
    CHECK(p.enable(seat.host) == status::busy);
    p.disable(seat.host);
    p.disable(seat.host);
    CHECK(seat.host.bytes_in_use() == before);
    CHECK(p.enable(seat.host) == status::ok);
    p.disable(seat.host);
}

TEMPLATE_LIST_TEST_CASE("a dump says where the guest is, in lines that were not cut", "", seats) {
    TestType seat;
    seat.cpu.set_rip(0xffff'8000'dead'beef);
    seat.cpu.dump(seat.host);
    std::size_t found{};
    for (auto const& line : seat.host.log_lines()) {
        found += line.find("ffff8000deadbeef") != std::string::npos;
        CHECK(line.size() < 160);
    }
    CHECK(found == 1);
}

} // namespace hv::test
