// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/test_context.hpp>
#include <hv/devices/ioapic.hpp>

#include <cstring>
#include <vector>

using namespace hv;

namespace {

constexpr std::uint32_t masked{1u << 16};
constexpr std::uint32_t level{1u << 15};
constexpr std::uint32_t remote_irr{1u << 14};

struct board {
    test::device_context context{};
    ioapic chip{};

    auto read(std::uint8_t index) -> std::uint32_t {
        chip.write_mmio(context, 0, 4, index);
        return static_cast<std::uint32_t>(chip.read_mmio(context, 0x10, 4));
    }
    void write(std::uint8_t index, std::uint32_t value) {
        chip.write_mmio(context, 0, 4, index);
        chip.write_mmio(context, 0x10, 4, value);
    }
    void program(unsigned pin, std::uint32_t low, std::uint8_t destination = 0) {
        write(static_cast<std::uint8_t>(0x11 + 2 * pin), std::uint32_t{destination} << 24);
        write(static_cast<std::uint8_t>(0x10 + 2 * pin), low);
    }
    auto low(unsigned pin) -> std::uint32_t { return read(static_cast<std::uint8_t>(0x10 + 2 * pin)); }
    auto delivered() -> std::vector<interrupt_message> {
        auto const all = context.delivered;
        context.delivered.clear();
        return all;
    }
    auto raise(unsigned pin) -> status { return chip.raise(context, pin); }
    auto lower(unsigned pin) -> status { return chip.lower(context, pin); }
    auto pulse(unsigned pin) -> status { return chip.pulse(context, pin); }
};

auto image_of(board& b) -> hv_ioapic_v1 {
    return b.chip.save(b.context);
}
auto same(hv_ioapic_v1 const& a, hv_ioapic_v1 const& b) -> bool {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

} // namespace

TEST_CASE("after reset the id is 0, the version says 32 pins and every pin is masked") {
    board b;
    CHECK(b.read(0) == 0);
    CHECK(b.read(1) == 0x001f0011);
    CHECK(b.read(2) == 0);
    for (unsigned pin{}; pin < 32; ++pin) {
        CHECK(b.low(pin) == masked);
        CHECK(b.read(static_cast<std::uint8_t>(0x11 + 2 * pin)) == 0);
    }
    b.program(3, 0x31);
    b.write(0, 0xffffffff);
    (void)b.raise(3);
    b.chip.reset(b.context);
    CHECK(b.low(3) == masked);
    CHECK(b.read(0) == 0);
    CHECK_FALSE(b.chip.asserted(3));
}

TEST_CASE("CVE-2013-1798: every one of the 256 selectors reads and writes without leaving the table") {
    board b;
    for (unsigned index{}; index < 256; ++index) {
        b.write(static_cast<std::uint8_t>(index), 0xffffffff);
        auto const value = b.read(static_cast<std::uint8_t>(index));
        INFO("selector " << index);
        if (index == 0 or index == 2)
            CHECK(value == 0x0f000000);
        else if (index == 1)
            CHECK(value == 0x001f0011);
        else if (index < 0x10 or index >= 0x50)
            CHECK(value == 0);
        else
            CHECK(value == (index % 2 == 0 ? 0x0001afffu : 0xff000000u));
    }
    CHECK(b.chip.read_mmio(b.context, 0, 4) == 255);
    b.chip.write_mmio(b.context, 0, 4, 0xabcdef01);
    CHECK(b.chip.read_mmio(b.context, 0, 4) == 1); // the selector is one byte
}

TEST_CASE("only aligned 32-bit accesses to the two windows do anything") {
    board b;
    b.program(0, 0x1234 & 0x2fff);
    b.chip.write_mmio(b.context, 0, 4, 0x10);
    auto const before = image_of(b);
    for (std::uint64_t offset{}; offset < 0x1000; ++offset)
        for (unsigned const size : {1u, 2u, 4u, 8u}) {
            if (offset + size > 0x1000)
                continue;
            auto const window = size == 4 and (offset == 0 or offset == 0x10);
            if (window)
                continue;
            if (b.chip.read_mmio(b.context, offset, size) != 0)
                FAIL("read " << offset << " size " << size);
            b.chip.write_mmio(b.context, offset, size, 0xffffffffffffffff);
        }
    CHECK(same(before, image_of(b)));
    CHECK(b.context.delivered.empty());
}

TEST_CASE("the register at 40h of later versions does not exist: an EOI written there ends nothing") {
    board b;
    b.program(4, level | 0x44);
    CHECK(b.raise(4) == status::ok);
    b.chip.write_mmio(b.context, 0x40, 4, 0x44);
    CHECK((b.low(4) & remote_irr) != 0);
}

TEST_CASE("an edge pin sends one message for each change from inactive to active") {
    board b;
    b.program(5, 0x35, 3);
    CHECK(b.raise(5) == status::ok);
    CHECK(b.raise(5) == status::ok); // a second source
    CHECK(b.delivered() == std::vector{interrupt_message{.destination = 3, .vector = 0x35}});
    CHECK(b.lower(5) == status::ok);
    CHECK(b.chip.asserted(5));
    CHECK(b.lower(5) == status::ok);
    CHECK_FALSE(b.chip.asserted(5));
    CHECK(b.delivered().empty());
    CHECK(b.pulse(5) == status::ok);
    CHECK(b.pulse(5) == status::ok);
    CHECK(b.delivered().size() == 2);
    CHECK((b.low(5) & remote_irr) == 0);
    b.chip.end_of_interrupt(b.context, 0x35);
    CHECK(b.delivered().empty());
}

TEST_CASE("an edge that meets a masked pin is lost") {
    board b;
    b.program(5, masked | 0x35);
    CHECK(b.raise(5) == status::ok);
    b.program(5, 0x35);
    CHECK(b.delivered().empty());
    CHECK(b.lower(5) == status::ok);
    CHECK(b.raise(5) == status::ok);
    CHECK(b.delivered().size() == 1);
}

TEST_CASE("a level pin waits for its EOI and asks again while it is asserted") {
    board b;
    b.program(9, level | 0x49);
    CHECK(b.raise(9) == status::ok);
    CHECK(b.delivered() == std::vector{interrupt_message{.vector = 0x49, .level = true}});
    CHECK((b.low(9) & remote_irr) != 0);
    CHECK(b.raise(9) == status::ok);
    CHECK(b.lower(9) == status::ok);
    CHECK(b.delivered().empty());
    b.chip.end_of_interrupt(b.context, 0x48); // another vector
    CHECK(b.delivered().empty());
    b.chip.end_of_interrupt(b.context, 0x49);
    CHECK(b.delivered().size() == 1);
    CHECK((b.low(9) & remote_irr) != 0);
    CHECK(b.lower(9) == status::ok);
    b.chip.end_of_interrupt(b.context, 0x49);
    CHECK(b.delivered().empty());
    CHECK((b.low(9) & remote_irr) == 0);
}

TEST_CASE("an EOI reaches all pins that share the vector") {
    board b;
    b.program(20, level | 0x77);
    b.program(21, level | 0x77);
    CHECK(b.raise(20) == status::ok);
    CHECK(b.raise(21) == status::ok);
    (void)b.delivered();
    b.chip.end_of_interrupt(b.context, 0x77);
    CHECK(b.delivered().size() == 2);
}

TEST_CASE("a level asserted while the pin is masked is sent when software unmasks it") {
    board b;
    b.program(9, masked | level | 0x49);
    CHECK(b.raise(9) == status::ok);
    CHECK(b.delivered().empty());
    b.program(9, level | 0x49);
    CHECK(b.delivered().size() == 1);
}

TEST_CASE("a pin masked in service asks again after EOI only when it is unmasked") {
    board b;
    b.program(9, level | 0x49);
    CHECK(b.raise(9) == status::ok);
    (void)b.delivered();
    b.program(9, masked | level | 0x49);
    CHECK((b.low(9) & remote_irr) != 0);
    b.chip.end_of_interrupt(b.context, 0x49);
    CHECK(b.delivered().empty());
    b.program(9, level | 0x49);
    CHECK(b.delivered().size() == 1);
}

TEST_CASE("remote IRR and delivery status are read-only, and an edge-triggered entry has no remote IRR") {
    board b;
    b.program(9, level | remote_irr | 1u << 12 | 0x49);
    CHECK(b.low(9) == (level | 0x49));
    CHECK(b.raise(9) == status::ok);
    b.program(9, level | 0x49);
    CHECK((b.low(9) & remote_irr) != 0);
    (void)b.delivered();
    b.program(9, masked | 0x49); // what software without an EOI register does to a stuck pin
    CHECK((b.low(9) & remote_irr) == 0);
    b.program(9, level | 0x49);
    CHECK(b.delivered().size() == 1);
}

TEST_CASE("the polarity bit changes nothing") {
    board b;
    b.program(9, level | 1u << 13 | 0x49);
    CHECK(b.delivered().empty());
    CHECK(b.raise(9) == status::ok);
    CHECK(b.delivered().size() == 1);
}

TEST_CASE("delivery modes: fixed, lowest priority, NMI and ExtINT are sent; SMI, INIT and reserved ones are dropped") {
    board b;
    for (unsigned mode{}; mode < 8; ++mode) {
        b.program(1, mode << 8 | 1u << 11 | 0x51, 0x0f);
        CHECK(b.pulse(1) == status::ok);
        auto const sent = b.delivered();
        INFO("mode " << mode);
        if (mode == 0 or mode == 1 or mode == 4 or mode == 7)
            CHECK(sent ==
                  std::vector{interrupt_message{
                      .destination = 0x0f, .vector = 0x51, .mode = static_cast<delivery_mode>(mode), .logical = true}});
        else
            CHECK(sent.empty());
    }
}

TEST_CASE("NMI and ExtINT are edges even if the entry says level") {
    board b;
    for (unsigned const mode : {4u, 7u}) {
        b.program(2, level | mode << 8 | 0x52);
        CHECK(b.raise(2) == status::ok);
        CHECK((b.low(2) & remote_irr) == 0);
        b.program(2, level | mode << 8 | 0x52);
        CHECK(b.lower(2) == status::ok);
        auto const sent = b.delivered();
        REQUIRE(sent.size() == 1);
        CHECK_FALSE(sent[0].level);
    }
}

TEST_CASE("CVE-2016-9777: every destination travels as it is, ffh as a broadcast") {
    board b;
    for (unsigned destination{}; destination < 256; ++destination) {
        b.program(31, 0x60, static_cast<std::uint8_t>(destination));
        CHECK(b.pulse(31) == status::ok);
        auto const sent = b.delivered();
        REQUIRE(sent.size() == 1);
        CHECK(sent[0].destination == (destination == 255 ? 0xffffffff : destination));
    }
}

TEST_CASE("assertions are counted and bounded") {
    board b;
    CHECK(b.raise(32) == status::invalid_argument);
    CHECK(b.lower(32) == status::invalid_argument);
    CHECK(b.pulse(0xffffffff) == status::invalid_argument);
    CHECK_FALSE(b.chip.asserted(32));
    CHECK(b.lower(0) == status::out_of_range);
    auto image = image_of(b);
    image.pin_level[0] = 0xffffffff;
    REQUIRE(b.chip.restore(b.context, image) == status::ok);
    CHECK(b.raise(0) == status::too_big);
    CHECK(b.pulse(0) == status::too_big);
    CHECK(b.lower(0) == status::ok);
    CHECK(b.raise(0) == status::ok);
}

TEST_CASE("a pulse while another source holds the pin is no edge") {
    board b;
    b.program(5, 0x35);
    CHECK(b.raise(5) == status::ok);
    (void)b.delivered();
    CHECK(b.pulse(5) == status::ok);
    CHECK(b.delivered().empty());
    CHECK(b.chip.asserted(5));
}

TEST_CASE("a saved I/O APIC restores to the same state and still waits for the EOI") {
    board b;
    b.write(0, 0x05000000);
    b.program(9, level | 0x49, 2);
    b.program(10, 0x4a, 0xff);
    CHECK(b.raise(9) == status::ok);
    CHECK(b.raise(10) == status::ok);
    b.chip.write_mmio(b.context, 0, 4, 0x23);
    auto const image = image_of(b);
    CHECK((image.pin_reg[9] & remote_irr) != 0);
    CHECK(image.pin_level[9] == 1);
    CHECK(image.id == 0x05000000);
    CHECK(image.reg_sel == 0x23);

    board other;
    REQUIRE(other.chip.restore(other.context, image) == status::ok);
    CHECK(same(image, image_of(other)));
    CHECK(other.context.delivered.empty());
    other.chip.end_of_interrupt(other.context, 0x49);
    CHECK(other.delivered() == std::vector{interrupt_message{.destination = 2, .vector = 0x49, .level = true}});
    CHECK(other.lower(10) == status::ok);
}

TEST_CASE("an impossible saved I/O APIC is refused and changes nothing") {
    board b;
    b.program(9, level | 0x49, 2);
    CHECK(b.raise(9) == status::ok);
    auto const before = image_of(b);
    auto const refused = [&](auto mutate) {
        auto image = hv_ioapic_v1{};
        mutate(image);
        return b.chip.restore(b.context, image) == status::invalid_argument and same(before, image_of(b));
    };
    CHECK(refused([](auto& i) { i.id = 0x10000000; }));
    CHECK(refused([](auto& i) { i.id = 1; }));
    CHECK(refused([](auto& i) { i.reg_sel = 0x100; }));
    CHECK(refused([](auto& i) { i.pin_reg[31] = remote_irr; }));
    CHECK(refused([](auto& i) { i.pin_reg[0] = ~std::uint64_t{level}; }));
}

TEST_CASE("reserved bits of saved entries are dropped") {
    board b;
    auto image = hv_ioapic_v1{};
    image.pin_reg[7] = 0x0001000000010000; // as the reference interface resets an entry
    image.pin_reg[8] = ~std::uint64_t{};
    REQUIRE(b.chip.restore(b.context, image) == status::ok);
    CHECK(image_of(b).pin_reg[7] == 0x10000);
    CHECK(image_of(b).pin_reg[8] == 0xff0000000001efff);
}
