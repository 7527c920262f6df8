// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/lapic_board.hpp>

#include <vector>

using namespace hv;
using namespace hv::test;
namespace esr = x86::apic::esr;

namespace {

constexpr std::uint32_t shorthand_self{1u << 18};
constexpr std::uint32_t shorthand_all{2u << 18};
constexpr std::uint32_t shorthand_others{3u << 18};
constexpr std::uint32_t logical{1u << 11};
constexpr std::uint32_t asserted{1u << 14};
constexpr std::uint32_t level{1u << 15};

constexpr auto mode(delivery_mode m) -> std::uint32_t {
    return static_cast<std::uint32_t>(m) << 8;
}

/// Whether a message without shorthand is for the APIC.
auto is_for(lapic_board const& b, std::uint32_t destination, bool is_logical) -> bool {
    return b.apic.route().matches({.destination = destination, .logical = is_logical}, 0xdead);
}

/// Routes what the APIC sends back to it at once, in the middle of its call.
struct echo : test::device_context {
    lapic* apic{};
    std::vector<lapic_request> answers{};

    void send(interrupt_message const& m) {
        if (apic->route().matches(m, id))
            answers.push_back(apic->accept(*this, m));
    }
    void end_of_interrupt(std::uint8_t vector) { send({.destination = id, .vector = vector, .level = true}); }
};

} // namespace

TEST_CASE("a command leaves as one message, in both modes") {
    for (auto b : {xapic(1), x2apic(1)}) {
        b.command(7, 0x41);
        CHECK(b.sent() == std::vector{interrupt_message{.destination = 7, .vector = 0x41}});
        b.command(0xc3, logical | mode(delivery_mode::lowest_priority) | 0x42);
        CHECK(b.sent() ==
              std::vector{interrupt_message{
                  .destination = 0xc3, .vector = 0x42, .mode = delivery_mode::lowest_priority, .logical = true}});
        b.command(2, mode(delivery_mode::nmi));
        CHECK(b.sent() == std::vector{interrupt_message{.destination = 2, .mode = delivery_mode::nmi}});
        b.command(2, mode(delivery_mode::init) | asserted | level);
        CHECK(b.sent() == std::vector{interrupt_message{.destination = 2, .mode = delivery_mode::init}});
        b.command(2, mode(delivery_mode::start_up) | 0x9a);
        CHECK(b.sent() ==
              std::vector{interrupt_message{.destination = 2, .vector = 0x9a, .mode = delivery_mode::start_up}});
        CHECK(b.get(reg::interrupt_command) == (mode(delivery_mode::start_up) | 0x9a));
        CHECK(b.errors() == 0);
    }
}

TEST_CASE("in xAPIC mode only the low half of ICR sends, and the high half is kept") {
    auto b = xapic();
    b.set(reg::interrupt_command_high, 0x05000000);
    CHECK(b.sent().empty());
    b.set(reg::interrupt_command, 0x41);
    b.set(reg::interrupt_command, 0x42);
    auto const sent = b.sent();
    REQUIRE(sent.size() == 2);
    CHECK(sent[1].destination == 5);
    CHECK(b.get(reg::interrupt_command_high) == 0x05000000);
}

TEST_CASE("a destination is 8 bits wide in xAPIC mode, with ffh as broadcast, and 32 in x2APIC mode") {
    auto narrow = xapic();
    narrow.command(0xff, 0x41);
    CHECK(narrow.sent()[0].destination == 0xffffffff);
    auto wide = x2apic();
    wide.command(0xff, 0x41);
    CHECK(wide.sent()[0].destination == 0xff);
    wide.command(0x12345678, 0x41);
    CHECK(wide.sent()[0].destination == 0x12345678);
    CHECK(wide.read_msr(0x830) == 0x12345678'00000041);
}

TEST_CASE("all modes with all shorthands: what is sent, what stays, what is ignored") {
    for (auto b : {xapic(1), x2apic(1)})
        for (unsigned m{}; m < 8; ++m)
            for (unsigned s{}; s < 4; ++s) {
                auto const kind = static_cast<delivery_mode>(m);
                auto const to = static_cast<destination_shorthand>(s);
                INFO("mode " << m << " shorthand " << s);
                b.command(0, s << 18 | m << 8 | 0x41);
                auto const sent = b.sent();
                auto const interrupt = kind == delivery_mode::fixed or kind == delivery_mode::lowest_priority;
                auto const reset = kind == delivery_mode::init or kind == delivery_mode::start_up;
                auto const to_self_too =
                    to == destination_shorthand::self or to == destination_shorthand::all_including_self;
                auto const here = interrupt and to == destination_shorthand::self;
                auto const leaves =
                    (interrupt and not here) or kind == delivery_mode::nmi or (reset and not to_self_too);
                CHECK(sent.size() == (leaves ? 1 : 0));
                if (leaves)
                    CHECK(sent[0] == interrupt_message{.vector = 0x41, .mode = kind, .shorthand = to});
                CHECK(b.apic.pending_vector() == (here ? 0x41 : -1));
                if (here) {
                    b.take(0x41);
                    b.end();
                }
                CHECK(b.errors() == 0);
            }
}

TEST_CASE("INIT level de-assert is ignored; INIT as an edge is not") {
    auto b = xapic();
    b.command(1, mode(delivery_mode::init) | level);
    CHECK(b.sent().empty());
    b.command(1, shorthand_all | mode(delivery_mode::init) | level);
    CHECK(b.sent().empty());
    b.command(1, mode(delivery_mode::init));
    CHECK(b.sent().size() == 1);
    b.command(1, shorthand_others | mode(delivery_mode::init) | asserted);
    CHECK(b.sent().size() == 1);
}

TEST_CASE("an IPI is an edge, whatever the trigger bit says") {
    auto b = xapic();
    b.command(1, level | asserted | 0x41);
    CHECK_FALSE(b.sent()[0].level);
    b.command(0, shorthand_self | level | asserted | 0x41);
    CHECK(b.vectors(reg::trigger_mode).empty());
}

TEST_CASE("an illegal vector is not sent: it is an error, to itself two") {
    for (auto b : {xapic(), x2apic()})
        for (unsigned vector{}; vector < 16; ++vector) {
            for (auto const form : {0u, shorthand_all, shorthand_others, mode(delivery_mode::lowest_priority)}) {
                b.command(1, form | vector);
                CHECK(b.sent().empty());
                CHECK(b.errors() == esr::send_illegal_vector);
            }
            b.command(0, shorthand_self | vector);
            CHECK(b.errors() == (esr::send_illegal_vector | esr::receive_illegal_vector));
            b.command(1, mode(delivery_mode::start_up) | vector); // a page number, not a vector
            CHECK(b.sent().size() == 1);
            CHECK(b.errors() == 0);
        }
}

TEST_CASE("SELF IPI is the short form of a fixed interrupt to itself") {
    auto b = x2apic();
    CHECK(b.write_msr(0x83f, 0x77));
    CHECK(b.sent().empty());
    b.take(0x77);
    b.end();
    CHECK(b.write_msr(0x83f, 0x0f));
    CHECK(b.errors() == (esr::send_illegal_vector | esr::receive_illegal_vector));
}

TEST_CASE("a software-disabled APIC sends, but takes nothing from itself") {
    lapic_board b;
    b.command(1, 0x41);
    CHECK(b.sent().size() == 1);
    b.command(0, shorthand_self | 0x41);
    CHECK(b.apic.pending_vector() == -1);
}

TEST_CASE("shorthands select by the id of the sender") {
    auto const b = xapic(3);
    auto const is = [&](destination_shorthand s, std::uint32_t source) {
        return b.apic.route().matches({.destination = 0x99, .shorthand = s}, source);
    };
    CHECK(is(destination_shorthand::self, 3));
    CHECK_FALSE(is(destination_shorthand::self, 4));
    CHECK(is(destination_shorthand::all_including_self, 3));
    CHECK(is(destination_shorthand::all_including_self, 4));
    CHECK_FALSE(is(destination_shorthand::all_excluding_self, 3));
    CHECK(is(destination_shorthand::all_excluding_self, 4));
    CHECK_FALSE(is(destination_shorthand::none, 3));
}

TEST_CASE("physical destinations: the id, and the broadcasts of either width") {
    auto const narrow = xapic(3);
    auto const wide = x2apic(3);
    for (unsigned destination{}; destination < 0x200; ++destination) {
        CHECK(is_for(narrow, destination, false) == (destination == 3 or destination == 0xff));
        CHECK(is_for(wide, destination, false) == (destination == 3));
    }
    CHECK(is_for(narrow, 0xffffffff, false));
    CHECK(is_for(wide, 0xffffffff, false));
    CHECK(is_for(x2apic(0xff), 0xff, false));
    CHECK(is_for(lapic_board{0x12345678, false}, 0x12345678, false)); // still in xAPIC mode: it must get its INIT
    CHECK_FALSE(is_for(lapic_board{0x12345678, false}, 0x78, false));
}

TEST_CASE("flat logical destinations share a bit with LDR") {
    auto b = xapic(3);
    for (unsigned ldr{}; ldr < 0x100; ++ldr) {
        b.set(reg::logical_destination, ldr << 24);
        for (unsigned destination{}; destination < 0x100; ++destination)
            if (is_for(b, destination, true) != (destination == 0xff or (destination & ldr) != 0))
                FAIL("LDR " << ldr << " destination " << destination);
        CHECK(is_for(b, 0xffffffff, true));
        CHECK_FALSE(is_for(b, 0x100 | ldr, true)); // an x2APIC cluster
    }
}

TEST_CASE("cluster logical destinations share the cluster and a bit with LDR") {
    auto b = xapic(3);
    b.set(reg::destination_format, 0);
    for (unsigned ldr{}; ldr < 0x100; ++ldr) {
        b.set(reg::logical_destination, ldr << 24);
        for (unsigned destination{}; destination < 0x100; ++destination) {
            auto const member = destination >> 4 == ldr >> 4 and (destination & ldr & 0xf) != 0;
            if (is_for(b, destination, true) != (destination == 0xff or member))
                FAIL("LDR " << ldr << " destination " << destination);
        }
    }
    b.set(reg::destination_format, 0x50000000); // no model
    b.set(reg::logical_destination, 0xff000000);
    CHECK_FALSE(is_for(b, 0x5f, true));
    CHECK(is_for(b, 0xff, true));
}

TEST_CASE("CVE-2013-6376: x2APIC clusters follow from the id, at its extremes too") {
    struct {
        std::uint32_t id;
        std::uint32_t ldr;
    } const rows[]{{0, 0x00000001},    {1, 0x00000002},     {15, 0x00008000},         {16, 0x00010001},
                   {0xff, 0x000f8000}, {0x123, 0x00120008}, {0xfffffffe, 0xffff4000}, {0xffffffff, 0xffff8000}};
    for (auto const& row : rows) {
        auto b = x2apic(row.id);
        CHECK(b.get(reg::id) == row.id);
        CHECK(b.get(reg::logical_destination) == row.ldr);
        CHECK(is_for(b, row.ldr, true));
        CHECK(is_for(b, row.ldr | 0xffff, true));
        CHECK(is_for(b, 0xffffffff, true));
        CHECK_FALSE(is_for(b, row.ldr & 0xffff0000, true));
        CHECK_FALSE(is_for(b, row.ldr ^ 0x00010000, true));
    }
    CHECK_FALSE(is_for(x2apic(0x10), 0xff, true)); // cluster 0
}

TEST_CASE("an APIC that is off matches nothing and takes nothing") {
    auto b = xapic(3);
    CHECK(b.set_base(0xfee00100));
    CHECK_FALSE(is_for(b, 3, false));
    CHECK_FALSE(b.apic.route().matches({.shorthand = destination_shorthand::all_including_self}, 0));
    for (unsigned m{}; m < 8; ++m)
        CHECK(b.apic.accept(b.context, {.vector = 0x50, .mode = static_cast<delivery_mode>(m)}) ==
              lapic_request::nothing);
    CHECK(b.apic.raise_error(0x40) == lapic_request::nothing);
}

TEST_CASE("a message may come back before the call that sent it returns") {
    lapic apic;
    echo context{};
    context.id = 5;
    context.apic = &apic;
    apic.power_on(5, true);
    apic.write_mmio(context, 0xf0, 4, 0x1ff);
    apic.write_mmio(context, 0x310, 4, 5u << 24);
    apic.write_mmio(context, 0x300, 4, 0x41);
    CHECK(apic.pending_vector() == 0x41);
    apic.acknowledge(0x41);
    CHECK(apic.accept(context, {.destination = 5, .vector = 0x62, .level = true}) == lapic_request::interrupt);
    apic.acknowledge(0x62);
    apic.write_mmio(context, 0xb0, 4, 0); // the pin is still asserted
    CHECK(apic.pending_vector() == 0x62);
    CHECK(context.answers == std::vector{lapic_request::interrupt, lapic_request::interrupt});
}
