// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "svm_look.hpp"

#include <hv/backends/svm.hpp>

#include <cstdint>
#include <map>
#include <string>

using namespace hv;
using namespace hv::test;
namespace parts = backends::svm;

namespace {

/// Gives a bare exit code and answers what the handler got.
auto decode(std::uint64_t code, std::uint64_t info1 = 0, std::uint64_t info2 = 0) -> std::string {
    svm_seat seat;
    seat.model.next = [=](svm_model::guest& g) { g.exit(code, info1, info2); };
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.seen.size() == 1);
    return handler.last().substr(0, handler.last().find(' '));
}

} // namespace

TEST_CASE("every exit code means one exit") {
    std::map<std::uint64_t, std::string> expected;
    for (std::uint64_t code{0}; code < 0x20; ++code)
        expected[code] = "control_register";
    for (std::uint64_t code{0x20}; code < 0x40; ++code)
        expected[code] = "debug_register";
    for (std::uint64_t code{0x40}; code < 0x60; ++code)
        expected[code] = "exception";
    expected[0x52] = "machine_check";
    for (auto const code : {0x60u, 0x61u, 0x62u, 0x63u})
        expected[code] = "host_interrupt";
    expected[0x64] = "interrupt_window";
    expected[0x65] = "control_register";
    for (std::uint64_t code{0x66}; code < 0x6e; ++code)
        expected[code] = "descriptor_table";
    expected[0x6e] = "tsc_read";
    expected[0x6f] = "rdpmc";
    expected[0x72] = "cpuid";
    expected[0x73] = "undefined_instruction";
    expected[0x74] = "nmi_window";
    expected[0x76] = "cache_control";
    expected[0x77] = "pause";
    expected[0x78] = "hlt";
    expected[0x7a] = "undefined_instruction";
    expected[0xa2] = "undefined_instruction";
    expected[0x7c] = "msr_read";
    expected[0x7d] = "task_switch";
    expected[0x7f] = "triple_fault";
    for (auto const code : {0x80u, 0x82u, 0x83u, 0x84u, 0x85u, 0x86u, 0x8eu})
        expected[code] = "undefined_instruction";
    expected[0x81] = "hypercall";
    expected[0x87] = "tsc_read";
    expected[0x89] = "cache_control";
    expected[0x8a] = "monitor";
    expected[0x8b] = "mwait";
    expected[0x8c] = "mwait";
    expected[0x8d] = "xsetbv";
    expected[0x400] = "nested_page_fault";

    auto const check = [&](std::uint64_t code) {
        auto const found = expected.find(code);
        CAPTURE(code);
        CHECK(decode(code) == (found == expected.end() ? "unknown" : found->second));
    };
    for (std::uint64_t code{0}; code < 0x110; ++code)
        check(code);
    for (std::uint64_t code{0x3ff}; code < 0x410; ++code)
        check(code);
    for (auto const code : {std::uint64_t{0xf000'0000}, std::uint64_t{0x1'0000'0072}, std::uint64_t{0x8000'0000},
                            ~std::uint64_t{1}, ~std::uint64_t{2}})
        check(code);
}

TEST_CASE("the next RIP counts for instructions that exit before they do anything, and for no event") {
    auto const between = [](std::uint64_t code, std::uint64_t first, std::uint64_t last) {
        return code >= first and code <= last;
    };
    for (std::uint64_t code{0}; code != 0x500; ++code) {
        CAPTURE(code);
        CHECK(parts::is_instruction(code) ==
              (between(code, 0, 0x3f) or between(code, 0x65, 0x7c) or between(code, 0x80, 0x8e)));
    }
    CHECK_FALSE(parts::is_instruction(~std::uint64_t{0}));
    CHECK_FALSE(parts::is_instruction(0xffff'ffff));
}

TEST_CASE("a refused entry is found by its low 32 bits, as QEMU stores it") {
    CHECK(decode(0xffff'ffff'ffff'ffff) == "entry_failed");
    CHECK(decode(0x0000'0000'ffff'ffff) == "entry_failed");
    CHECK(decode(0xffff'ffff'ffff'fffe) == "unknown");
}

TEST_CASE("an I/O exit without a size is not served") {
    CHECK(decode(0x7b, 0x03f8'0000, 0) == "unknown");
    CHECK(decode(0x7b, 0x03f8'0010, 0) == "io_port");
    CHECK(decode(0x7b, 0x03f8'0004, 0) == "unknown");
    for (auto const info : {0x14u, 0x20u, 0x24u, 0x40u, 0x44u})
        CHECK(decode(0x7b, 0x03f8'0000 | info, 0) == "io_port");
}

TEST_CASE("plain bytes are told from strings and wider accesses, whatever else an I/O exit says") {
    for (unsigned info{0}; info != 0x400; ++info) {
        CAPTURE(info);
        auto const exit = parts::decode_io(0x3f8'0000u | info);
        CHECK(parts::is_plain_byte(0x3f8'0000u | info) == (exit.size == 1 and not exit.string));
    }
}

TEST_CASE("what QEMU leaves out of an I/O exit is reported as unknown, not guessed") {
    auto const exit = parts::decode_string_io(0x0010'0014, false); // OUTSB without address size and segment
    CHECK(exit.address_size == 0);
    CHECK_FALSE(exit.segment_known);
    CHECK(exit.segment == x86::segment_name::ds);
    CHECK(parts::decode_string_io(0x0010'0014 | 6u << 10, true).segment_known == false);
    CHECK(parts::decode_string_io(0x0010'0014 | 5u << 10, true).segment == x86::segment_name::gs);
}

TEST_CASE("without decode assistance a control register write is not decoded") {
    auto const write = parts::decode_control_register(0, true, std::uint64_t{1} << 63 | 3, false);
    CHECK_FALSE(write.decoded);
    auto const lmsw = parts::decode_control_register(0, true, 3, true); // bit 63 clear: not a MOV
    CHECK_FALSE(lmsw.decoded);
}

TEST_CASE("a nested page fault is a page walk only if the processor says so") {
    vmcb block{};
    block.control.exitinfo1 = 4;
    CHECK_FALSE(parts::decode_nested_page_fault(block.control, false).page_walk);
    block.control.exitinfo1 = std::uint64_t{1} << 33 | 6;
    CHECK(parts::decode_nested_page_fault(block.control, false).page_walk);
}

TEST_CASE("the number of fetched bytes cannot exceed the buffer") {
    vmcb block{};
    block.control.bytes_fetched = 0xff;
    CHECK(parts::decode_nested_page_fault(block.control, true).instruction.count == 15);
    CHECK(parts::decode_nested_page_fault(block.control, false).instruction.count == 0);
}

TEST_CASE("a next RIP that no instruction can have is not believed") {
    svm_seat seat;
    recording_handler handler;
    for (auto const distance : {std::uint64_t{0}, std::uint64_t{16}, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
        seat.model.next = [=](svm_model::guest& g) { g.exit(0x7b, 0x10'0010, g.state.save.rip + distance); };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == 0);
    }
}

TEST_CASE("a next RIP that comes with a fault or an interrupt, as on Bochs, is not a length") {
    svm_seat seat;
    recording_handler handler;
    for (auto const code : {0x400u, 0x41u, 0x4eu, 0x51u, 0x5fu, 0x60u, 0x61u, 0x63u, 0x64u, 0x7du, 0x7eu, 0x7fu}) {
        seat.model.next = [=](svm_model::guest& g) {
            g.length = 3;
            g.exit(code);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == 0);
    }
    for (auto const code : {0x00u, 0x10u, 0x34u, 0x65u, 0x6eu, 0x72u, 0x7cu, 0x81u, 0x87u, 0x8du, 0x8eu}) {
        seat.model.next = [=](svm_model::guest& g) {
            g.length = 3;
            g.exit(code);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == 3);
    }
}

TEST_CASE(
    "the eight descriptor-table intercepts are set where the machine wants them, and tell register and direction") {
    for (bool const wanted : {false, true}) {
        svm_seat seat;
        seat.cpu.detach(seat.host, seat.processors[0]);
        REQUIRE(seat.machine.create(seat.host, {.nested_root = seat.tables.root(seat.host),
                                                .trap_descriptor_tables = wanted}) == status::ok);
        REQUIRE(seat.cpu.create(seat.host, seat.machine) == status::ok);
        seat.cpu.attach(seat.host, seat.processors[0]);
        look(seat, [&](vmcb const& b) { CHECK((at<std::uint32_t>(b, 0x00c) >> 6 & 0xff) == (wanted ? 0xffu : 0u)); });
    }
    // APM Vol. 2, Appendix C: IDTR, GDTR, LDTR, TR; reads, then writes.
    using enum exits::descriptor_table::table;
    constexpr exits::descriptor_table::table order[]{idtr, gdtr, ldtr, tr};
    for (unsigned i{0}; i < 8; ++i) {
        auto const found = parts::decode_descriptor_table(0x66 + i);
        CHECK(found.which == order[i % 4]);
        CHECK(found.write == (i >= 4));
    }
}
