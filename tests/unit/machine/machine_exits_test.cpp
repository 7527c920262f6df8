// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <initializer_list>
#include <string_view>
#include <utility>

using namespace hv;
using namespace hv::test;
using x86::gpr;
using events = std::vector<event>;

namespace {

auto const undefined = event::make(x86::exception::invalid_opcode);
auto exception(x86::exception vector, std::uint32_t error_code = 0, std::uint64_t qualification = 0) -> script::step {
    return script::exit{exits::exception{.vector = vector, .error_code = error_code, .qualification = qualification},
                        0};
}

struct answering_pc : fake_pc {
    static constexpr bool hypercalls{true};
    static constexpr pause_policy pause{pause_policy::exits};
};
/// A PC without handlers of the test: PAUSE is served like every exit.
struct pausing_pc : fake_pc {
    using handlers = exit_chain<>;
};

} // namespace

TEST_CASE("exceptions that are intercepted only to be seen are given back") {
    whole_machine<> m;
    m.run({exception(x86::exception::page_fault, 0x17, 0xffff'8000'1234'5678)});
    CHECK(m.delivered() == events{event::make(x86::exception::page_fault, 0x17)});
    CHECK(m.guest().cr2() == 0xffff'8000'1234'5678);
    m.run({exception(x86::exception::alignment_check)});
    CHECK(m.delivered() == events{event::make(x86::exception::alignment_check, 0)});
    m.run({exception(x86::exception::invalid_opcode)});
    CHECK(m.delivered() == events{undefined});
    m.guest().set_debug_register(6, 0xffff0ff0);
    m.guest().set_debug_register(7, 0x2400);
    m.run({exception(x86::exception::debug, 0, 0x4001)});
    CHECK(m.delivered() == events{event::make(x86::exception::debug)});
    CHECK(m.guest().debug_register(6) == 0xffff4ff1);
    CHECK(m.guest().debug_register(7) == 0x400);
    CHECK(m.guest().rip() == 0xfff0);
}

TEST_CASE("an INT3 or INTO that is intercepted is given back behind the instruction") {
    for (auto const& [vector, opcode] :
         {std::pair{x86::exception::breakpoint, 0xccu}, std::pair{x86::exception::overflow, 0xceu}}) {
        whole_machine<> m;
        m.place_code({opcode});
        m.run({exception(vector)});
        CHECK(m.delivered() == events{event::make(vector)});
        CHECK(m.guest().rip() == code_at + 1); // traps: their handler returns behind them
    }
}

TEST_CASE("row 31: #AC and #DB that come again and again leave the host in command") {
    whole_machine<> m;
    auto const& controls = m.machine->hardware().controls;
    CHECK((controls.intercepted_exceptions & 1u << 1) != 0);
    CHECK((controls.intercepted_exceptions & 1u << 17) != 0);
    std::vector<script::step> circle;
    for (unsigned i{0}; i != 1000; ++i) {
        circle.push_back(exception(x86::exception::alignment_check));
        circle.push_back(exception(x86::exception::debug, 0, 1));
    }
    circle.emplace_back(script::exit{exits::host_interrupt{}});
    auto const before = m.host.interrupt_windows();
    m.run(circle);
    CHECK(m.delivered().size() == 2000);
    CHECK(m.host.interrupt_windows() > before);
    CHECK(m.stopped() == stop_kind::none);
}

TEST_CASE("hypercalls are #UD, or answer -1 where the machine says so") {
    whole_machine<> without;
    without.run({script::exit{exits::hypercall{}, 3}});
    CHECK(without.delivered() == events{undefined});
    whole_machine<answering_pc> with;
    with.run({script::exit{exits::hypercall{}, 3}});
    CHECK(with.delivered().empty());
    CHECK(with.rax() == ~0ull);
    CHECK(with.guest().rip() == 0xfff0 + 3);
    CHECK(with.machine->hardware().controls.pause == pause_policy::exits);
}

TEST_CASE("what this machine does not have is #UD at the instruction") {
    whole_machine<> m;
    for (script::any_exit const& exit :
         {script::any_exit{exits::undefined_instruction{}}, script::any_exit{exits::monitor{}},
          script::any_exit{exits::mwait{}}, script::any_exit{exits::xsetbv{.index = 0, .value = 7}}}) {
        m.run({script::exit{exit, 3}});
        CHECK(m.delivered() == events{undefined});
        CHECK(m.guest().rip() == 0xfff0);
    }
    m.run({script::exit{exits::rdpmc{}}});
    CHECK(m.took_gp());
}

TEST_CASE("a PAUSE that exits lets other vCPUs of the processor run, where there are threads") {
    whole_machine<pausing_pc, hosted::host> parallel;
    parallel.run({script::exit{exits::pause{}, 2}});
    CHECK(parallel.host.ways_given(0) == 2); // and the one behind the script
    whole_machine<pausing_pc> serial;
    serial.run({script::exit{exits::pause{}, 2}});
    CHECK(serial.host.ways_given(0) == 0);
}

TEST_CASE("INVD, WBINVD and PAUSE do nothing") {
    whole_machine<pausing_pc> m;
    m.run({script::exit{exits::cache_control{}}, script::set{gpr::rbx, 1}});
    CHECK(m.stopped() == stop_kind::triple_fault); // the script's end; the PAUSE before it was passed
    CHECK(m.gpr(gpr::rbx) == 1);
    CHECK(m.delivered().empty());
    CHECK(m.stats().exits[exits::number_of<exits::pause>] == 1);
}

TEST_CASE("windows and host interrupts let the guest go on where it was") {
    whole_machine<> m;
    m.run({script::exit{exits::interrupt_window{}}, script::exit{exits::nmi_window{}},
           script::exit{exits::host_interrupt{}}, script::set{gpr::rbx, 1}});
    CHECK(m.guest().rip() == 0xfff0 + 4);
    CHECK(m.delivered().empty());
    CHECK(m.host.interrupt_windows() == 1);
}

TEST_CASE("row 30: exits that nothing can follow end the machine with all that is known, and no other machine") {
    struct end {
        script::any_exit exit;
        stop_kind kind;
    };
    whole_machine<> other;
    for (auto const& [exit, kind] :
         {end{exits::triple_fault{}, stop_kind::triple_fault},
          end{exits::entry_failed{.reason = "RIP is not canonical"}, stop_kind::entry_failed},
          end{exits::isolation_broken{.reason = "XCR0"}, stop_kind::isolation_broken},
          end{exits::machine_check{}, stop_kind::machine_check},
          end{exits::unknown{.code = 0x77, .information = {1, 2}}, stop_kind::unknown_exit}}) {
        whole_machine<> m;
        m.run({script::exit{exit}, script::set{gpr::rbx, 1}});
        CHECK(m.stopped() == kind);
        CHECK(m.gpr(gpr::rbx) == 0);
        CHECK(m.delivered().empty());
        CHECK_FALSE(is_orderly(kind));
        other.run({script::exit{exits::cpuid{}}, script::set{gpr::rbx, 1}});
        CHECK(other.stopped() == stop_kind::none);
        auto const& reason = m.machine->reason();
        if (kind == stop_kind::entry_failed)
            CHECK(std::string_view{reason.text} == "RIP is not canonical");
        if (kind == stop_kind::unknown_exit) {
            CHECK(reason.code == 0x77);
            CHECK(reason.information == std::array<std::uint64_t, 2>{1, 2});
        }
    }
}

TEST_CASE("row 30: registers that no processor enters with are the guest's end, not the library's") {
    whole_machine<> m;
    m.long_mode();
    m.guest().set_rip(0x8000'0000'0000'0000);
    m.run({script::exit{exits::cpuid{}, 0}}); // length unknown: nothing can be fetched there
    CHECK(m.took_gp());
    m.guest().set_rip(~0ull);
    m.run({script::exit{exits::cpuid{}}});
    CHECK(m.guest().rip() == 1); // wraps as the processor's RIP does
    CHECK(m.stopped() == stop_kind::none);
}

TEST_CASE("the length of an instruction that the processor does not tell comes from the guest's memory") {
    whole_machine<answering_pc> m;
    struct instruction {
        script::any_exit exit;
        std::initializer_list<unsigned> code;
    };
    exits::io_port const in{.port = 0x80,
                            .size = 1,
                            .in = true,
                            .string = false,
                            .rep = false,
                            .address_size = 0,
                            .segment = x86::segment_name::ds,
                            .segment_known = false};
    for (auto const& [exit, code] :
         {instruction{exits::cpuid{}, {0x0f, 0xa2}}, instruction{exits::cpuid{}, {0x66, 0x0f, 0xa2}},
          instruction{exits::msr_read{.index = 0xfe}, {0x0f, 0x32}},
          instruction{exits::msr_write{.index = 0x8b, .value = 0}, {0x0f, 0x30}},
          instruction{exits::tsc_read{.with_aux = false}, {0x0f, 0x31}},
          instruction{exits::tsc_read{.with_aux = true}, {0x0f, 0x01, 0xf9}},
          instruction{exits::cache_control{}, {0x0f, 0x08}}, instruction{exits::cache_control{}, {0x0f, 0x09}},
          instruction{exits::hypercall{}, {0x0f, 0x01, 0xd9}}, instruction{exits::hypercall{}, {0x0f, 0x01, 0xc1}},
          instruction{in, {0xec}}, instruction{in, {0xe4, 0x80}}, instruction{in, {0x66, 0xed}},
          instruction{in, {0x2e, 0x67, 0xe5, 0x80}}}) {
        m.place_code(code);
        m.run({script::exit{exit, 0}});
        CHECK(m.guest().rip() == code_at + code.size());
        CHECK(m.delivered().empty());
        REQUIRE(m.stopped() == stop_kind::none);
    }
    // Somebody has taken the instruction away meanwhile.
    m.guest().set_rip(0x4000'0000);
    m.run({script::exit{exits::cpuid{}, 0}});
    CHECK(m.stopped() == stop_kind::unsupported_instruction);
}

TEST_CASE("where the processor does not tell RDTSCP from RDTSC, the instruction does") {
    whole_machine<> m;
    REQUIRE(m.wrmsr(x86::msr::ia32_tsc_aux, 0x77));
    m.place_code({0x0f, 0x01, 0xf9});
    m.run({script::exit{exits::tsc_read{.with_aux = false}, 0}});
    CHECK(m.gpr(gpr::rcx) == 0x77);
    m.place_code({0x0f, 0x31});
    m.guest().set_gpr(gpr::rcx, 5);
    m.run({script::exit{exits::tsc_read{.with_aux = false}, 0}});
    CHECK(m.gpr(gpr::rcx) == 5);
}

TEST_CASE("an instruction that is passed ends a shadow, RF and, with TF, steps") {
    whole_machine<> m;
    m.guest().set_interrupt_shadow(true);
    m.guest().set_rflags(x86::rflags::rf | x86::rflags::tf);
    m.run({script::exit{exits::cpuid{}}});
    CHECK_FALSE(m.guest().interrupt_shadow());
    CHECK((m.guest().rflags() & x86::rflags::rf) == 0);
    CHECK(m.delivered() == events{event::make(x86::exception::debug)});
    CHECK((m.guest().debug_register(6) & 1u << 14) != 0);
    CHECK(m.guest().rip() == 0xfff2);
}

TEST_CASE("outside 64-bit mode RIP stays within 32 bits") {
    whole_machine<> m;
    m.place_code({0x90});
    m.guest().set_rip(0xfffffffe);
    m.run({script::exit{exits::cpuid{}}});
    CHECK(m.guest().rip() == 0);
}

namespace {

struct without_rdtscp : fake_pc {
    struct cpuid : default_cpuid_profile {
        static constexpr auto rules = std::array{cpuid_rule{.function = 1}};
    };
};
struct with_invpcid : fake_pc {
    struct cpuid : default_cpuid_profile {
        static constexpr auto rules = std::array{
            cpuid_rule{.function = 7, .match_index = true, .allow = {.ebx = x86::cpuid_bits::leaf7_ebx::invpcid}}};
    };
};

} // namespace

TEST_CASE("RDTSCP and INVPCID are there where the guest's CPUID says so, and #UD elsewhere") {
    whole_machine<> both;
    CHECK(both.machine->hardware().controls.shows_rdtscp);
    CHECK_FALSE(both.machine->hardware().controls.shows_invpcid); // not in the default profile
    both.run({script::exit{exits::tsc_read{.with_aux = true}, 3}});
    CHECK(both.delivered().empty());
    CHECK(both.guest().rip() == 0xfff0 + 3);
    whole_machine<without_rdtscp> neither;
    CHECK_FALSE(neither.machine->hardware().controls.shows_rdtscp);
    neither.run({script::exit{exits::tsc_read{.with_aux = true}, 3}});
    CHECK(neither.delivered() == events{undefined});
    CHECK(neither.guest().rip() == 0xfff0);
    neither.run({script::exit{exits::tsc_read{.with_aux = false}, 2}});
    CHECK(neither.delivered().empty());
    whole_machine<with_invpcid> invpcid;
    CHECK(invpcid.machine->hardware().controls.shows_invpcid);
    CHECK_FALSE(invpcid.machine->hardware().controls.shows_rdtscp);
}
