// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;
using x86::gpr;
using form = exits::control_register::form;

namespace {

auto mov_to(std::uint8_t number, gpr source = gpr::rbx) -> script::step {
    return script::exit{exits::control_register{.number = number,
                                                .write = true,
                                                .decoded = true,
                                                .kind = form::mov,
                                                .source = source,
                                                .machine_status_word = 0},
                        3};
}
auto undecoded(std::uint8_t number, bool write) -> script::step {
    return script::exit{exits::control_register{.number = number,
                                                .write = write,
                                                .decoded = false,
                                                .kind = form::mov,
                                                .source = gpr::rax,
                                                .machine_status_word = 0},
                        0};
}

/// Whether the guest could move `value` to the register, rather than take #GP.
auto write(whole_machine<>& m, std::uint8_t number, std::uint64_t value) -> bool {
    m.guest().set_gpr(gpr::rbx, value);
    m.run({mov_to(number)});
    return not m.took_gp();
}

} // namespace

TEST_CASE("a decoded write of CR0 turns paging on, and long mode with it") {
    whole_machine<> m;
    CHECK(write(m, 0, x86::cr0::pe | x86::cr0::et));
    CHECK(m.guest().cr0() == (x86::cr0::pe | x86::cr0::et));
    CHECK_FALSE(write(m, 0, x86::cr0::pg)); // paging without protection
    CHECK_FALSE(write(m, 0, x86::cr0::pe | x86::cr0::nw));
    REQUIRE(m.wrmsr(x86::msr::ia32_efer, x86::efer::lme));
    CHECK_FALSE(write(m, 0, x86::cr0::pe | x86::cr0::pg)); // long mode without PAE
    CHECK(write(m, 4, x86::cr4::pae));
    CHECK(write(m, 0, x86::cr0::pe | x86::cr0::pg));
    CHECK(m.guest().efer() == (x86::efer::lme | x86::efer::lma));
    CHECK(write(m, 0, x86::cr0::pe));
    CHECK(m.guest().efer() == x86::efer::lme);
    CHECK(m.guest().cr0() == (x86::cr0::pe | x86::cr0::et)); // ET stays
}

TEST_CASE("CR4 takes the bits that CPUID offers, and never those that the world switch does not carry") {
    whole_machine<> m;
    for (auto const bit : {x86::cr4::vme, x86::cr4::pvi, x86::cr4::tsd, x86::cr4::de, x86::cr4::pse, x86::cr4::pae,
                           x86::cr4::mce, x86::cr4::pge, x86::cr4::osfxsr, x86::cr4::osxmmexcpt, x86::cr4::fsgsbase,
                           x86::cr4::smep, x86::cr4::smap, x86::cr4::umip})
        CHECK(write(m, 4, bit));
    m.long_mode(); // where a move takes 64 bits
    for (auto const bit : {x86::cr4::osxsave, x86::cr4::vmxe, x86::cr4::smxe, x86::cr4::pke, x86::cr4::cet,
                           x86::cr4::la57, x86::cr4::pcide, 1ul << 15, 1ul << 24, 1ul << 63}) {
        INFO("bit " << std::countr_zero(bit));
        CHECK_FALSE(write(m, 4, x86::cr4::pae | bit));
    }
    // The leaves decide, also when they change later.
    m.cpu().cpuid().find(7, 0)->values.ebx &= ~x86::cpuid_bits::leaf7_ebx::smep;
    CHECK_FALSE(write(m, 4, x86::cr4::pae | x86::cr4::smep));
    CHECK(write(m, 4, x86::cr4::pae | x86::cr4::smap));
}

TEST_CASE("outside 64-bit mode a move to a control register takes 32 bits") {
    whole_machine<> m;
    m.guest().set_gpr(gpr::rbx, 0xffffffff'00000011); // left there by 64-bit code
    m.run({mov_to(0)});
    CHECK_FALSE(m.took_gp());
    CHECK(m.guest().cr0() == 0x11);
    m.long_mode();
    m.guest().set_gpr(gpr::rbx, 0x1'80000011);
    m.run({mov_to(0)});
    CHECK(m.took_gp());
}

TEST_CASE("CR3 refuses reserved bits in long mode and keeps the rest") {
    whole_machine<> m;
    m.long_mode();
    CHECK(write(m, 3, 0x0000'00ff'ffff'f018));
    CHECK(m.guest().cr3() == 0x0000'00ff'ffff'f018);
    for (auto const bad : {1ull << 63, 1ull << 62, 1ull << 52})
        CHECK_FALSE(write(m, 3, bad));
    CHECK(m.guest().cr3() == 0x0000'00ff'ffff'f018);
    auto const flushes = m.guest().flushes;
    CHECK(write(m, 3, tables_at));
    CHECK(m.guest().flushes > flushes);
}

TEST_CASE("CR2 and CR8 hold what is written, CR8 four bits of it") {
    whole_machine<> m;
    m.long_mode();
    CHECK(write(m, 2, 0x123456789abc));
    CHECK(m.guest().cr2() == 0x123456789abc);
    CHECK(write(m, 8, 0xb));
    CHECK(m.apic().task_priority() == 0xb);
    CHECK(m.guest().task_priority() == 0xb);
    CHECK_FALSE(write(m, 8, 0x10));
    CHECK_FALSE(write(m, 1, 0));
    CHECK(m.apic().task_priority() == 0xb);
}

TEST_CASE("a control register instruction that the processor does not decode is emulated from the guest's memory") {
    whole_machine<> m;
    m.place_code({0x0f, 0x22, 0xc3}); // MOV CR0, EBX
    m.guest().set_gpr(gpr::rbx, 0x33);
    m.run({undecoded(0, true)});
    CHECK(m.guest().cr0() == 0x33);
    CHECK(m.guest().rip() == code_at + 3);
    m.place_code({0x0f, 0x20, 0xc1}); // MOV ECX, CR0
    m.run({undecoded(0, false)});
    CHECK(m.gpr(gpr::rcx) == 0x33);
    m.guest().set_cr0(m.guest().cr0() | x86::cr0::ts);
    m.place_code({0x0f, 0x06}); // CLTS
    m.run({undecoded(0, true)});
    CHECK((m.guest().cr0() & x86::cr0::ts) == 0);
    m.place_code({0x0f, 0x01, 0xf3}); // LMSW BX
    m.guest().set_gpr(gpr::rbx, x86::cr0::ts);
    m.run({undecoded(0, true)});
    CHECK(m.guest().cr0() == 0x39);   // sets TS, PE stays, MP and EM fall
    m.place_code({0x0f, 0x22, 0xe3}); // MOV CR4, EBX
    m.guest().set_gpr(gpr::rbx, x86::cr4::osxsave);
    m.run({undecoded(4, true)});
    CHECK(m.took_gp());
    CHECK(m.guest().rip() == code_at);
    CHECK(m.stats().emulated_instructions == 5);
}

TEST_CASE("debug registers are moved by the emulator, and DR7.GD guards them once") {
    whole_machine<> m;
    auto const dr = [](std::uint8_t number, bool write) {
        return script::exit{
            exits::debug_register{.number = number, .write = write, .decoded = false, .source = gpr::rax}, 0};
    };
    m.place_code({0x0f, 0x23, 0xc0}); // MOV DR0, EAX
    m.guest().set_gpr(gpr::rax, 0x1234);
    m.run({dr(0, true)});
    CHECK(m.guest().debug_register(0) == 0x1234);
    m.guest().set_debug_register(7, 0x400 | 1u << 13);
    m.place_code({0x0f, 0x21, 0xc1}); // MOV ECX, DR0
    m.run({dr(0, false)});
    CHECK(m.delivered() == std::vector{event::make(x86::exception::debug)});
    CHECK((m.guest().debug_register(6) & 1u << 13) != 0); // BD
    CHECK(m.guest().debug_register(7) == 0x400);          // the handler may touch them
    m.place_code({0x0f, 0x21, 0xc1});
    m.run({dr(0, false)});
    CHECK(m.gpr(gpr::rcx) == 0x1234);
}

TEST_CASE("row 25: an instruction that another processor replaced is checked anew") {
    whole_machine<> m;
    // The exit was a write to CR0 at CPL 0; by now user code stands there that the exit never was about.
    m.place_code({0x0f, 0x22, 0xc3}); // MOV CR0, EBX
    m.set_cpl(3);
    auto const before = m.guest().cr0();
    m.guest().set_gpr(gpr::rbx, 0x11);
    m.run({undecoded(0, true)});
    CHECK(m.took_gp());
    CHECK(m.guest().cr0() == before);
    // An OUT of user code is refused like the processor refuses it.
    m.place_code({0xe6, 0xf4}); // OUT F4h, AL
    m.guest().set_segment(x86::segment_name::tr, {.limit = 0x67, .access = 0x8b});
    m.poke(0x66, {0xff, 0xff}); // the bitmap lies beyond the limit: no port is allowed
    m.run({undecoded(0, true)});
    CHECK(m.took_gp());
    CHECK(m.stopped() == stop_kind::none);
    // An INS in place of the OUTS that exited is not executed for it: the guest gets to run it itself.
    m.set_cpl(0);
    m.place_code({0x6c}); // INSB
    m.guest().set_gpr(gpr::rdi, 0x3000);
    m.poke(0x3000, {0x5a});
    m.run({script::exit{exits::io_port{.port = 0xe9,
                                       .size = 1,
                                       .in = false,
                                       .string = true,
                                       .rep = false,
                                       .address_size = 0,
                                       .segment = x86::segment_name::ds,
                                       .segment_known = false}}});
    CHECK(m.stopped() == stop_kind::unknown_exit); // the script has no other instruction to run: it exits again
    CHECK(m.peek<std::uint8_t>(0x3000) == 0x5a);
    CHECK(m.host.output().empty());
}

TEST_CASE("writes that load the pointers of PAE paging refuse reserved bits of those that are present") {
    // Four pointers at 20h of a page: the second one is the case.
    struct row {
        std::initializer_list<unsigned> pointer;
        bool loads;
    };
    row const rows[]{
        {{0x01, 0x30, 0, 0, 0, 0, 0, 0}, true},     {{0x19, 0x3e, 0, 0, 0, 0, 0, 0}, true},
        {{0xfe, 0x3f, 0, 0, 0, 0, 0, 0xff}, true}, // absent
        {{0x03, 0x30, 0, 0, 0, 0, 0, 0}, false},    {{0x05, 0x30, 0, 0, 0, 0, 0, 0}, false},
        {{0x21, 0x30, 0, 0, 0, 0, 0, 0}, false},    {{0x81, 0x31, 0, 0, 0, 0, 0, 0}, false},
        {{0x01, 0x30, 0, 0, 0, 0, 0, 0x80}, false}, {{0x01, 0x30, 0, 0, 0, 0, 0x01, 0}, false},
    };
    for (auto const& r : rows) {
        whole_machine<> m;
        m.poke(0x2028, r.pointer);
        CHECK(write(m, 0, x86::cr0::pe));
        CHECK(write(m, 4, x86::cr4::pae));
        CHECK(write(m, 3, 0x2020)); // nothing is loaded without paging
        CHECK(write(m, 0, x86::cr0::pe | x86::cr0::pg) == r.loads);
        if (not r.loads) {
            CHECK((m.guest().cr0() & x86::cr0::pg) == 0);
            CHECK(write(m, 3, 0x3000));
            CHECK(write(m, 0, x86::cr0::pe | x86::cr0::pg));
        }
        CHECK(write(m, 3, 0x2020) == r.loads);
        CHECK(m.guest().cr3() == (r.loads ? 0x2020 : 0x3000));
    }
    whole_machine<> m;
    CHECK(write(m, 0, x86::cr0::pe));
    CHECK(write(m, 4, x86::cr4::pae));
    CHECK(write(m, 3, 0x2020));
    CHECK(write(m, 0, x86::cr0::pe | x86::cr0::pg));
    m.poke(0x2028, {0x03, 0x30, 0, 0, 0, 0, 0, 0});
    CHECK(write(m, 4, x86::cr4::pae | x86::cr4::mce));              // not one of those that load
    CHECK(write(m, 0, x86::cr0::pe | x86::cr0::pg | x86::cr0::wp)); // nor this
    CHECK_FALSE(write(m, 4, x86::cr4::pae | x86::cr4::mce | x86::cr4::pge));
    CHECK((m.guest().cr4() & x86::cr4::pge) == 0);
    CHECK_FALSE(write(m, 0, x86::cr0::pe | x86::cr0::pg | x86::cr0::cd));
}
