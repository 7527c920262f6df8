// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <string>

using namespace hv;
using namespace hv::test;
using x86::gpr;

namespace {

/// Answers one exit kind each as told, and writes down that it was asked.
template <char Name>
struct told {
    auto on(exits::cpuid const&, auto& cpu) -> verdict {
        asked.push_back(Name);
        cpu.set_gpr(gpr::rbx, static_cast<std::uint64_t>(Name));
        return answer;
    }
    verdict answer{verdict::not_mine};
    std::string asked{};
};
struct only_io {
    auto on(exits::io_port const& exit, auto& cpu) -> verdict {
        if (exit.port != 0x77)
            return verdict::not_mine;
        cpu.set_gpr(gpr::rax, 0x1234);
        return verdict::advance;
    }
};
struct told_of_faults {
    auto on(exits::nested_page_fault const&, auto&) -> verdict { return answer; }
    verdict answer{verdict::not_mine};
};
struct handled_pc : fake_pc {
    using handlers = exit_chain<told<'a'>, only_io, told<'b'>, told_of_faults, leave_at_pause>;
};

struct jumper {
    auto on(exits::hypercall const&, auto& cpu) -> verdict {
        cpu.set_rip(0x4444);
        return verdict::resume;
    }
};
struct jumping_pc : fake_pc {
    using handlers = exit_chain<jumper, leave_at_pause>;
};
struct stopper {
    auto on(exits::hypercall const&, auto& cpu) -> verdict {
        cpu.machine().stop({.kind = stop_kind::requested, .text = "enough", .code = 5});
        return verdict::advance;
    }
};
template <verdict Answer>
struct stopper_that_answers {
    auto on(exits::cpuid const&, auto& cpu) -> verdict {
        cpu.machine().stop({.kind = stop_kind::requested});
        return Answer;
    }
};
template <verdict Answer>
struct stopping_answering_pc : fake_pc {
    using handlers = exit_chain<stopper_that_answers<Answer>, leave_at_pause>;
};
struct stopping_pc : fake_pc {
    using handlers = exit_chain<stopper, leave_at_pause>;
};

struct handled : whole_machine<handled_pc> {
    auto a() -> auto& { return cpu().handlers().get<told<'a'>>(); }
    auto b() -> auto& { return cpu().handlers().get<told<'b'>>(); }
    script::step const leaf_0{script::exit{exits::cpuid{}}};
};

} // namespace

TEST_CASE("handlers are asked in order, and the built-in service last") {
    handled m;
    m.run({script::set{gpr::rax, 0}, m.leaf_0});
    CHECK(m.a().asked == "a");
    CHECK(m.b().asked == "b");
    CHECK(m.rax() == 0x1f); // the library's answer
    CHECK(m.gpr(gpr::rbx) != 'b');
}

TEST_CASE("a handler that answers keeps the exit from the next and from the service") {
    handled m;
    m.a().answer = verdict::advance;
    m.run({script::set{gpr::rax, 0}, m.leaf_0});
    CHECK(m.b().asked.empty());
    CHECK(m.rax() == 0);
    CHECK(m.gpr(gpr::rbx) == 'a');
    m.a().answer = verdict::not_mine;
    m.b().answer = verdict::advance;
    m.run({m.leaf_0});
    CHECK(m.gpr(gpr::rbx) == 'b');
    CHECK(m.rax() == 0);
    CHECK(m.stats().exits[exits::number_of<exits::cpuid>] == 2); // counted, whoever serves it
}

TEST_CASE("a handler of another exit is not asked, and one that wants one port gets only that") {
    handled m;
    CHECK((m.in(0x77) & 0xffff) == 0x1234);
    CHECK((m.in(0x78) & 0xff) == 0xff);
    CHECK(m.stats().unclaimed_ports == 1);
    CHECK(m.a().asked.empty());
}

TEST_CASE("leave gives control back with the guest at its instruction, and run goes on from there") {
    handled m;
    m.a().answer = verdict::leave;
    auto const rip = m.guest().rip();
    m.run({m.leaf_0, script::set{gpr::rcx, 9}});
    CHECK(m.stopped() == stop_kind::none);
    CHECK(m.guest().rip() == rip);
    CHECK(m.gpr(gpr::rcx) != 9);
    m.a().answer = verdict::not_mine;
    m.cpu().run();
    CHECK(m.gpr(gpr::rcx) == 9);
    CHECK(m.a().asked == "aa");
}

TEST_CASE("an event whose delivery was interrupted by an exit that leaves is not lost") {
    handled m;
    m.apic().set_virtual_wire();
    m.interrupts(true);
    m.machine->deliver({.destination = 0, .vector = 0x44}, nullptr);
    m.guest().delivery_will_exit(exits::nested_page_fault{gpa{0x5000}, access::read, false, false, {}});
    m.cpu().handlers().get<told_of_faults>().answer = verdict::leave;
    m.run({script::set{gpr::rcx, 9}});
    CHECK(m.delivered().empty());
    m.cpu().run();
    CHECK(m.delivered() == std::vector{external(0x44)});
    CHECK(m.gpr(gpr::rcx) == 9);
}

TEST_CASE("a handler may put RIP elsewhere and resume") {
    whole_machine<jumping_pc> m;
    m.run({script::exit{exits::hypercall{}}});
    CHECK(m.guest().rip() == 0x4444);
    CHECK(m.delivered().empty());
}

TEST_CASE("a machine that a handler stops is not entered again, whatever it answers") {
    whole_machine<stopping_answering_pc<verdict::again>> at_once;
    at_once.run({script::exit{exits::cpuid{}}, script::set{gpr::rcx, 9}});
    CHECK(at_once.stopped() == stop_kind::requested);
    CHECK(at_once.gpr(gpr::rcx) == 0);
    whole_machine<stopping_answering_pc<verdict::advance>> behind;
    behind.run({script::exit{exits::cpuid{}}, script::set{gpr::rcx, 9}});
    CHECK(behind.gpr(gpr::rcx) == 0);
}

TEST_CASE("a handler may stop the machine") {
    whole_machine<stopping_pc> m;
    m.run({script::exit{exits::hypercall{}}, script::set{gpr::rcx, 9}});
    CHECK(m.stopped() == stop_kind::requested);
    CHECK(m.machine->reason().code == 5);
    CHECK(m.gpr(gpr::rcx) == 0);
    CHECK(m.guest().rip() == 0xfff2);
}

namespace {
template <std::size_t Records>
struct traced_pc : fake_pc {
    using trace = trace_ring<Records>;
};
} // namespace

TEST_CASE("the trace keeps each exit with its place, detail and times") {
    whole_machine<traced_pc<8>> m;
    auto& trace = m.cpu().trace();
    m.host.set_now(1000);
    m.run({m.io(0x80, 1, true), script::exit{exits::msr_read{.index = 0xfe}}, script::load{gpa{0x1000}},
           script::exit{exits::cpuid{}}});
    REQUIRE(trace.size() == 3); // the PAUSE has not been followed by an entry
    CHECK(trace.at(0).kind == exits::number_of<exits::io_port>);
    CHECK(trace.at(0).detail == 0x80);
    CHECK(trace.at(0).rip == 0xfff0);
    CHECK(trace.at(0).exit_tsc == m.host.tsc());
    CHECK(trace.at(0).entry_tsc == m.host.tsc());
    CHECK(trace.at(1).kind == exits::number_of<exits::msr_read>);
    CHECK(trace.at(1).detail == 0xfe);
    CHECK(trace.at(2).rip == 0xfff0 + 2 + 2 + 4);
    CHECK(trace.dropped() == 0);
    CHECK(std::string{exits::names[trace.at(2).kind]} == "cpuid");
}

TEST_CASE("a full trace keeps the last exits and counts the others") {
    whole_machine<traced_pc<4>> m;
    std::vector<script::step> steps;
    for (unsigned port{0}; port != 10; ++port)
        steps.push_back(m.io(static_cast<std::uint16_t>(0x800 + port), 1, true));
    m.run(steps);
    auto& trace = m.cpu().trace();
    CHECK(trace.size() == 3); // the fourth place belongs to the exit that is not over
    CHECK(trace.dropped() == 7);
    for (std::size_t i{0}; i != 3; ++i)
        CHECK(trace.at(i).detail == 0x807 + i);
}

TEST_CASE("a machine that does not trace has no room for it") {
    using without = vcpu<fake_pc, hosted::serial_host>;
    using with = vcpu<traced_pc<64>, hosted::serial_host>;
    STATIC_REQUIRE(sizeof(with) >= sizeof(without) + 64 * sizeof(trace_record));
    struct two {
        typename hosted::serial_host::fpu_area fpu;
        [[no_unique_address]] no_trace trace;
    };
    STATIC_REQUIRE(std::is_empty_v<no_trace>);
    STATIC_REQUIRE(sizeof(two) == sizeof(typename hosted::serial_host::fpu_area));
}
