// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/uart_16550.hpp>

#include <tests/unit/devices/device_fuzz.hpp>

#include <cstdint>
#include <random>
#include <string_view>

using namespace hv;
using hv::test::device_context;
using hv::test::line_event;

namespace {

enum : unsigned { rbr = 0, thr = 0, ier = 1, iir = 2, fcr = 2, lcr = 3, mcr = 4, lsr = 5, msr = 6, scr = 7 };
constexpr unsigned out2{8};
constexpr unsigned loopback{16};

struct machine {
    device_context context{};
    com1 uart{};

    machine() { uart.reset(context); }
    void out(unsigned offset, unsigned value) {
        uart.write_port(context, static_cast<std::uint16_t>(0x3f8 + offset), 1, value);
    }
    auto in(unsigned offset) -> unsigned {
        return uart.read_port(context, static_cast<std::uint16_t>(0x3f8 + offset), 1);
    }
    auto feed(std::string_view text) -> unsigned {
        unsigned taken{};
        for (auto const c : text)
            taken += uart.receive(context, static_cast<std::uint8_t>(c));
        return taken;
    }
    auto asserted() -> bool { return context.asserted(4); }
};

} // namespace

TEST_CASE("the registers after a reset are those of the datasheet") {
    machine m;
    CHECK(m.in(ier) == 0);
    CHECK(m.in(iir) == 1);
    CHECK(m.in(lcr) == 0);
    CHECK(m.in(mcr) == 0);
    CHECK(m.in(lsr) == 0x60);
    CHECK((m.in(msr) & 0x0f) == 0);
    CHECK(m.context.lines.empty());
}

TEST_CASE("a byte written is sent at once and the transmitter is always empty") {
    machine m;
    for (auto const c : std::string_view{"hello"}) {
        CHECK((m.in(lsr) & 0x60) == 0x60);
        m.out(thr, static_cast<unsigned char>(c));
    }
    CHECK(m.context.text() == "hello");
}

TEST_CASE("bytes of another port go to its stream") {
    device_context context;
    uart_16550<uart_config{.base = 0x2f8, .irq = 3, .stream = 2}> uart;
    uart.reset(context);
    uart.write_port(context, 0x2f8, 1, 'x');
    CHECK(context.text(2) == "x");
    CHECK(decltype(uart)::data_class == 0x8000 + 0x2f8 / 8);
    CHECK(com1::data_class == 0x8000 + 0x3f8 / 8);
}

TEST_CASE("the divisor latch hides data and interrupt enable") {
    machine m;
    m.out(ier, 5);
    m.out(lcr, 0x83);
    m.out(0, 0x34);
    m.out(1, 0x12);
    CHECK(m.in(0) == 0x34);
    CHECK(m.in(1) == 0x12);
    CHECK(m.context.output.empty());
    m.out(lcr, 0x03);
    CHECK(m.in(ier) == 5);
    CHECK(m.in(lcr) == 3);
}

TEST_CASE("unused bits read as zero and the scratch register keeps everything") {
    machine m;
    m.out(ier, 0xff);
    CHECK(m.in(ier) == 0x0f);
    m.out(mcr, 0xff);
    CHECK(m.in(mcr) == 0x1f);
    m.out(scr, 0xa5);
    CHECK(m.in(scr) == 0xa5);
    m.out(lsr, 0xff);
    m.out(mcr, 0);
    CHECK(m.in(lsr) == 0x60);
}

TEST_CASE("without FIFOs the receiver holds one byte") {
    machine m;
    CHECK(m.feed("ab") == 1);
    CHECK(m.in(lsr) == 0x61);
    CHECK(m.in(rbr) == 'a');
    CHECK(m.in(lsr) == 0x60);
    CHECK(m.in(rbr) == 'a'); // nothing new
    CHECK(m.feed("b") == 1);
    CHECK(m.in(rbr) == 'b');
}

TEST_CASE("the FIFO holds sixteen bytes in order and refuses the next") {
    machine m;
    m.out(fcr, 1);
    CHECK((m.in(iir) & 0xc0) == 0xc0);
    CHECK(m.feed("0123456789abcdefXY") == 16);
    CHECK_FALSE(m.uart.can_receive());
    CHECK((m.in(lsr) & 2) == 0); // the sender waits: no overrun
    for (auto const c : std::string_view{"0123456789abcdef"})
        CHECK(m.in(rbr) == static_cast<unsigned char>(c));
    CHECK((m.in(lsr) & 1) == 0);
}

TEST_CASE("below its trigger level the receiver reports a timeout, from there on data") {
    struct {
        unsigned fcr_value, level;
    } const cases[]{{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}};
    for (auto const c : cases) {
        machine m;
        m.out(fcr, c.fcr_value);
        m.out(ier, 1);
        m.out(mcr, out2);
        for (unsigned n{1}; n <= 16; ++n) {
            m.feed("x");
            CHECK(m.asserted());
            CHECK(m.in(iir) == (n >= c.level ? 0xc4 : 0xcc));
        }
        for (unsigned n{16}; n != 0; --n) {
            CHECK(m.asserted());
            static_cast<void>(m.in(rbr));
        }
        CHECK_FALSE(m.asserted());
        CHECK(m.in(iir) == 0xc1);
        CHECK(m.context.edges(4) == 1);
    }
}

TEST_CASE("clearing the receiver FIFO or switching the FIFOs empties it") {
    auto const value = GENERATE(0x03u, 0x00u);
    machine m;
    m.out(fcr, 1);
    m.out(ier, 1);
    m.out(mcr, out2);
    m.feed("abc");
    m.out(fcr, 0x05); // the transmitter's clear leaves the receiver alone
    CHECK(m.asserted());
    m.out(fcr, value);
    CHECK_FALSE(m.asserted());
    CHECK((m.in(lsr) & 1) == 0);
}

TEST_CASE("other bits of the FIFO control register need bit 0") {
    machine m;
    m.out(fcr, 0xc0);
    CHECK((m.in(iir) & 0xc0) == 0);
    m.out(ier, 1);
    m.feed("a");
    CHECK(m.in(iir) == 4);
}

TEST_CASE("enabling the transmitter interrupt interrupts, and reading the identification takes it back") {
    machine m;
    m.out(mcr, out2);
    m.out(ier, 2);
    CHECK(m.asserted());
    CHECK(m.in(iir) == 2);
    CHECK_FALSE(m.asserted());
    CHECK(m.in(iir) == 1);
    m.out(ier, 2); // no change: no new interrupt
    CHECK_FALSE(m.asserted());
    m.out(ier, 0);
    m.out(ier, 2);
    CHECK(m.asserted());
}

TEST_CASE("each byte sent is a new edge of the transmitter interrupt") {
    machine m;
    m.out(mcr, out2);
    m.out(ier, 2);
    CHECK(m.context.edges(4) == 1);
    m.out(thr, 'a');
    CHECK(m.context.edges(4) == 2);
    CHECK(m.asserted());
    static_cast<void>(m.in(iir));
    m.out(thr, 'b');
    CHECK(m.context.edges(4) == 3);
}

TEST_CASE("identification shows the highest source and clears the transmitter's only when it shows that") {
    machine m;
    m.out(mcr, out2);
    m.out(ier, 0xf);
    m.out(thr, 'x');
    m.feed("a");
    CHECK(m.in(iir) == 4);
    CHECK(m.in(iir) == 4);
    static_cast<void>(m.in(rbr));
    CHECK(m.in(iir) == 2);
    CHECK(m.in(iir) == 1);
}

TEST_CASE("OUT2 connects the interrupt to its line") {
    machine m;
    m.out(ier, 1);
    m.feed("a");
    CHECK(m.context.lines.empty());
    CHECK(m.in(iir) == 4);
    m.out(mcr, out2);
    CHECK(m.asserted());
    m.out(mcr, 0);
    CHECK_FALSE(m.asserted());
    m.out(mcr, out2 | loopback);
    CHECK_FALSE(m.asserted());
}

TEST_CASE("the peer is present and ready") {
    machine m;
    CHECK((m.in(msr) & 0xf0) == 0xb0);
}

TEST_CASE("loopback joins the modem lines as a driver's probe expects") {
    machine m;
    struct {
        unsigned control, lines;
    } const cases[]{{1, 0x20}, {2, 0x10}, {4, 0x40}, {8, 0x80}, {0xa, 0x90}, {0xf, 0xf0}};
    for (auto const c : cases) {
        m.out(mcr, loopback | c.control);
        CHECK((m.in(msr) & 0xf0) == c.lines);
    }
}

TEST_CASE("modem changes are remembered until read and interrupt") {
    machine m;
    m.out(ier, 8);
    m.out(mcr, loopback); // the peer's lines go away
    CHECK(m.in(iir) == 0);
    CHECK(m.in(msr) == 0x0b);
    CHECK(m.in(msr) == 0);
    CHECK(m.in(iir) == 1);
    m.out(mcr, loopback | 4);
    CHECK(m.in(msr) == 0x40); // a ring that begins is no change
    m.out(mcr, loopback);
    CHECK(m.in(msr) == 0x04); // one that ends is
    m.out(mcr, loopback | 3);
    CHECK(m.in(msr) == 0x33);
}

TEST_CASE("loopback sends to the own receiver and to nobody else") {
    machine m;
    m.out(fcr, 1);
    m.out(mcr, loopback);
    m.out(thr, 'a');
    m.out(thr, 'b');
    CHECK(m.context.output.empty());
    CHECK(m.feed("x") == 0); // the receiver is disconnected
    CHECK(m.in(rbr) == 'a');
    CHECK(m.in(rbr) == 'b');
}

TEST_CASE("an overrun keeps the FIFO, replaces a lone byte, and shows until the line status is read") {
    machine m;
    m.out(ier, 4);
    m.out(mcr, loopback);
    m.out(thr, 'a');
    m.out(thr, 'b');
    CHECK(m.in(iir) == 6);
    CHECK(m.in(lsr) == 0x63);
    CHECK(m.in(lsr) == 0x61);
    CHECK(m.in(iir) == 1);
    CHECK(m.in(rbr) == 'b');
    m.out(fcr, 1);
    for (unsigned i{0}; i != 17; ++i)
        m.out(thr, i);
    CHECK((m.in(lsr) & 2) == 2);
    for (unsigned i{0}; i != 16; ++i)
        CHECK(m.in(rbr) == i);
    CHECK((m.in(lsr) & 1) == 0);
}

TEST_CASE("a reset releases the line") {
    machine m;
    m.out(mcr, out2);
    m.out(ier, 2);
    REQUIRE(m.asserted());
    m.uart.reset(m.context);
    CHECK_FALSE(m.asserted());
    CHECK(m.in(ier) == 0);
}

TEST_CASE("a restored UART behaves as the saved one would have") {
    std::mt19937_64 random{16550};
    for (unsigned run{0}; run != 1000; ++run) {
        machine m;
        test::abuse(m.uart, m.context, random, 60);
        m.out(fcr, unsigned(random() & 0xff));
        for (auto n = random() % 20; n != 0; --n)
            static_cast<void>(m.uart.receive(m.context, static_cast<std::uint8_t>(random())));
        m.context.forget();
        machine n;
        REQUIRE(n.uart.restore(n.context, m.uart.save(m.context)) == status::ok);
        CHECK(n.context.lines.empty());
        for (unsigned i{0}; i != 60; ++i) {
            auto const offset = static_cast<unsigned>(random() % 8);
            auto const value = static_cast<unsigned>(random() & 0xff);
            switch (random() % 3) {
            case 0:
                m.out(offset, value);
                n.out(offset, value);
                break;
            case 1: {
                auto const byte = static_cast<std::uint8_t>(value);
                REQUIRE(m.uart.receive(m.context, byte) == n.uart.receive(n.context, byte));
                break;
            }
            default:
                REQUIRE(m.in(offset) == n.in(offset));
            }
            REQUIRE(m.context.lines == n.context.lines);
            REQUIRE(m.context.output == n.context.output);
        }
    }
}

TEST_CASE("row 8: no sequence of accesses and no image confuses the UART") {
    std::mt19937_64 random{3494};
    machine m;
    CHECK_NOTHROW(test::abuse(m.uart, m.context, random, 200'000));
    unsigned refused{};
    for (unsigned i{0}; i != 50; ++i) {
        test::abuse(m.uart, m.context, random, 50);
        refused += test::mutate(m.uart, m.context, random, 500);
    }
    CHECK(refused > 1000);
    auto image = m.uart.save(m.context);
    image.fcr = 0;
    image.received_count = 2;
    CHECK(m.uart.restore(m.context, image) == status::invalid_argument);
    image.fcr = 1;
    CHECK(m.uart.restore(m.context, image) == status::ok);
    image.received_count = 17;
    CHECK(m.uart.restore(m.context, image) == status::invalid_argument);
}
