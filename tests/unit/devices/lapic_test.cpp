// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/lapic_board.hpp>

#include <array>
#include <set>

using namespace hv;
using namespace hv::test;
namespace esr = x86::apic::esr;
namespace lvt = x86::apic::lvt;

namespace {

constexpr std::array lvt_registers{
    reg::lvt_cmci,  reg::lvt_timer, reg::lvt_thermal_sensor, reg::lvt_performance_counter,
    reg::lvt_lint0, reg::lvt_lint1, reg::lvt_error};

} // namespace

TEST_CASE("after power-on every register has its reset value") {
    lapic_board b{5, true};
    CHECK(b.read_msr(0x1b) == 0xfee00900);
    CHECK(b.get(reg::id) == 5u << 24);
    CHECK(b.get(reg::version) == 0x00060014);
    CHECK(b.get(reg::task_priority) == 0);
    CHECK(b.get(reg::processor_priority) == 0);
    CHECK(b.get(reg::arbitration_priority) == 0);
    CHECK(b.get(reg::logical_destination) == 0);
    CHECK(b.get(reg::destination_format) == 0xffffffff);
    CHECK(b.get(reg::spurious_interrupt_vector) == 0xff);
    CHECK(b.get(reg::error_status) == 0);
    CHECK(b.get(reg::interrupt_command) == 0);
    CHECK(b.get(reg::interrupt_command_high) == 0);
    for (auto const entry : lvt_registers)
        CHECK(b.get(entry) == lvt::masked);
    for (auto const set : {reg::in_service, reg::trigger_mode, reg::interrupt_request})
        CHECK(b.vectors(set).empty());
    CHECK(b.get(reg::initial_count) == 0);
    CHECK(b.get(reg::current_count) == 0);
    CHECK(b.get(reg::divide_configuration) == 0);
    CHECK(b.apic.deadline() == never);
    CHECK(b.apic.pending_vector() == -1);
    lapic_board ap{6, false};
    CHECK(ap.read_msr(0x1b) == 0xfee00800);
}

TEST_CASE("INIT clears all but the id and the mode; RESET goes back to xAPIC mode") {
    auto b = x2apic(0x123);
    b.set(reg::task_priority, 0x20);
    b.set(reg::lvt_timer, 0x50);
    b.set(reg::initial_count, 1000);
    (void)b.accept(0x90);
    b.apic.initialize(b.context);
    CHECK(b.apic.x2apic());
    CHECK(b.get(reg::id) == 0x123);
    CHECK(b.get(reg::task_priority) == 0);
    CHECK(b.get(reg::lvt_timer) == lvt::masked);
    CHECK(b.get(reg::spurious_interrupt_vector) == 0xff);
    CHECK(b.apic.deadline() == never);
    CHECK(b.apic.pending_vector() == -1);
    b.apic.reset(b.context);
    CHECK_FALSE(b.apic.x2apic());
    CHECK(b.read_msr(0x1b) == 0xfee00900);
    CHECK(b.apic.id() == 0x123);
}

TEST_CASE("each xAPIC register keeps exactly its writable bits") {
    auto b = xapic(3);
    struct {
        reg r;
        std::uint32_t kept;
    } const rows[]{
        {reg::id, 3u << 24}, // set by the hardware
        {reg::version, 0x00060014},
        {reg::task_priority, 0xff},
        {reg::logical_destination, 0xff000000},
        {reg::destination_format, 0xffffffff},
        {reg::spurious_interrupt_vector, 0x3ff},
        {reg::interrupt_command_high, 0xff000000},
        {reg::lvt_cmci, 0x000107ff},
        {reg::lvt_timer, 0x000700ff},
        {reg::lvt_thermal_sensor, 0x000107ff},
        {reg::lvt_performance_counter, 0x000107ff},
        {reg::lvt_lint0, 0x0001a7ff},
        {reg::lvt_lint1, 0x0001a7ff},
        {reg::lvt_error, 0x000100ff},
        {reg::divide_configuration, 0x0000000b},
        {reg::interrupt_command, 0x000ccfff},
        {reg::remote_read, 0},
    };
    for (auto const& row : rows) {
        INFO("register " << static_cast<unsigned>(row.r));
        b.set(row.r, 0xffffffff);
        CHECK(b.get(row.r) == row.kept);
    }
    b.set(reg::destination_format, 0);
    CHECK(b.get(reg::destination_format) == 0x0fffffff);
    CHECK(b.errors() == 0);
}

TEST_CASE("xAPIC reads of every size at every offset answer the bytes of the register, and nothing else") {
    auto b = xapic(0xa5);
    b.set(reg::lvt_lint0, 0x000187ab);
    b.set(reg::logical_destination, 0xc3000000);
    for (std::uint64_t offset{}; offset < 0x1000; ++offset)
        for (unsigned const size : {1u, 2u, 4u, 8u}) {
            auto const whole = offset / 16 < 0x40 ? b.apic.read_mmio(b.context, offset & ~0xfull, 4) : 0;
            auto const part = offset % 16 < 4 ? whole >> (offset % 4 * 8) : 0;
            auto const expected = size == 8 ? part : part & ((1ull << size * 8) - 1);
            if (b.apic.read_mmio(b.context, offset, size) != expected)
                FAIL("offset " << offset << " size " << size);
        }
    CHECK(b.apic.read_mmio(b.context, 0x351, 1) == 0x87);
    CHECK(b.apic.read_mmio(b.context, 0x351, 2) == 0x0187);
    CHECK(b.apic.read_mmio(b.context, 0x350, 8) == 0x000187ab);
    CHECK(b.apic.read_mmio(b.context, ~0ull, 8) == 0);
    CHECK(b.apic.read_mmio(b.context, 0x20, 0) == 0);
}

TEST_CASE("only aligned 32-bit writes reach an xAPIC register") {
    auto b = xapic();
    (void)b.errors();
    auto const before = b.image();
    for (std::uint64_t offset{}; offset < 0x1000; ++offset)
        for (unsigned const size : {1u, 2u, 4u, 8u})
            if (size != 4 or offset % 16 != 0)
                b.apic.write_mmio(b.context, offset, size, 0x00050505);
    CHECK(same(before, b.image()));
    CHECK(b.context.sent.empty());
    for (std::uint64_t offset{}; offset < 0x1000; offset += 16) // and every one of those is survived
        b.apic.write_mmio(b.context, offset, 4, 0xffffffffffffffff);
    b.apic.write_mmio(b.context, ~0xfull, 4, 0);
}

TEST_CASE("a reserved register is an illegal register address, read or written") {
    std::set<std::uint64_t> existing{0x20, 0x30, 0x80,  0x90,  0xa0,  0xb0,  0xc0,  0xd0,
                                     0xe0, 0xf0, 0x280, 0x300, 0x310, 0x380, 0x390, 0x3e0};
    for (auto const r : lvt_registers)
        existing.insert(lapic_board::offset(r));
    for (std::uint64_t offset{0x100}; offset < 0x280; offset += 16)
        existing.insert(offset);
    for (std::uint64_t offset{}; offset < 0x1000; offset += 16) {
        auto b = xapic();
        INFO("offset " << offset);
        auto const expected = existing.contains(offset) ? 0 : esr::illegal_register_address;
        (void)b.apic.read_mmio(b.context, offset, 4);
        CHECK(b.errors() == expected);
        if (offset == 0x280)
            continue; // the write collects the errors
        b.apic.write_mmio(b.context, offset, 4, 0x10);
        CHECK(b.errors() == expected);
    }
}

TEST_CASE("PPR is the higher of TPR and the class in service") {
    struct {
        unsigned tpr;
        unsigned in_service;
        unsigned ppr;
    } const rows[]{{0x00, 0x00, 0x00}, {0x2f, 0x00, 0x2f}, {0x00, 0x35, 0x30}, {0x2f, 0x35, 0x30},
                   {0x3f, 0x35, 0x3f}, {0x4a, 0x35, 0x4a}, {0x0f, 0x00, 0x0f}, {0xff, 0xf0, 0xff}};
    for (auto const& row : rows) {
        auto one = xapic();
        if (row.in_service != 0) {
            CHECK(one.accept(static_cast<std::uint8_t>(row.in_service)) == lapic_request::interrupt);
            one.take(static_cast<int>(row.in_service));
        }
        one.set(reg::task_priority, row.tpr);
        CHECK(one.get(reg::processor_priority) == row.ppr);
    }
}

TEST_CASE("a vector is pending only if its class is above the processor priority") {
    auto b = xapic();
    CHECK(b.accept(0x55) == lapic_request::interrupt);
    for (unsigned tpr{}; tpr < 0x100; ++tpr) {
        b.set(reg::task_priority, tpr);
        CHECK(b.apic.pending_vector() == (tpr < 0x50 ? 0x55 : -1));
    }
    b.set(reg::task_priority, 0);
    CHECK(b.accept(0x5f) == lapic_request::interrupt);
    CHECK(b.accept(0x5f) == lapic_request::nothing); // already pending
    b.take(0x5f);
    CHECK(b.apic.pending_vector() == -1); // the same class waits
    CHECK(b.accept(0x60) == lapic_request::interrupt);
    b.take(0x60);
    CHECK(b.vectors(reg::in_service) == std::vector<unsigned>{0x5f, 0x60});
    CHECK(b.vectors(reg::interrupt_request) == std::vector<unsigned>{0x55});
    b.end();
    CHECK(b.get(reg::processor_priority) == 0x50);
    CHECK(b.apic.pending_vector() == -1);
    b.end();
    b.take(0x55);
    b.end();
    b.end(); // with nothing in service: ignored
    CHECK(b.vectors(reg::in_service).empty());
    CHECK(b.context.ended.empty());
}

TEST_CASE("every legal vector goes through IRR and ISR, highest first") {
    auto b = xapic();
    for (unsigned v{16}; v < 256; ++v)
        CHECK(b.accept(static_cast<std::uint8_t>(v)) == lapic_request::interrupt);
    for (int v{255}; v >= 16; --v) {
        b.take(v);
        CHECK(b.vectors(reg::in_service) == std::vector<unsigned>{static_cast<unsigned>(v)});
        b.end();
    }
    CHECK(b.apic.pending_vector() == -1);
}

TEST_CASE("acknowledging a vector that is not requested does nothing") {
    auto b = xapic();
    b.apic.acknowledge(-1);
    b.apic.acknowledge(0x80);
    CHECK(b.vectors(reg::in_service).empty());
}

TEST_CASE("the EOI of a level-triggered vector goes to the I/O APICs, that of an edge does not") {
    auto b = xapic();
    CHECK(b.accept(0x61, true) == lapic_request::interrupt);
    CHECK(b.accept(0x72, false) == lapic_request::interrupt);
    CHECK(b.vectors(reg::trigger_mode) == std::vector<unsigned>{0x61});
    b.take(0x72);
    b.end();
    CHECK(b.context.ended.empty());
    b.take(0x61);
    b.end();
    CHECK(b.context.ended == std::vector<std::uint8_t>{0x61});
    CHECK(b.accept(0x61, false) == lapic_request::interrupt); // the same vector as an edge
    CHECK(b.vectors(reg::trigger_mode).empty());
}

TEST_CASE("CR8 and the upper half of TPR are one") {
    auto b = xapic();
    b.set(reg::task_priority, 0x5a);
    CHECK(b.apic.task_priority() == 5);
    b.apic.set_task_priority(9);
    CHECK(b.get(reg::task_priority) == 0x90);
    CHECK(b.get(reg::processor_priority) == 0x90);
    CHECK(b.accept(0x95) == lapic_request::interrupt);
    CHECK(b.apic.pending_vector() == -1);
    b.apic.set_task_priority(8);
    CHECK(b.apic.pending_vector() == 0x95);
}

TEST_CASE("APR follows TPR, IRR and ISR") {
    auto b = xapic();
    b.set(reg::task_priority, 0x35);
    CHECK(b.get(reg::arbitration_priority) == 0x35);
    CHECK(b.accept(0x44) == lapic_request::interrupt);
    CHECK(b.get(reg::arbitration_priority) == 0x40);
    b.take(0x44);
    CHECK(b.apic.arbitration_priority() == 0x40);
    b.set(reg::task_priority, 0x45);
    CHECK(b.apic.arbitration_priority() == 0x40); // TPR's lower half counts only above the class in service
    b.set(reg::task_priority, 0x7f);
    CHECK(b.apic.arbitration_priority() == 0x7f);
}

TEST_CASE("software-disabled, the APIC masks its table and drops fixed interrupts, not NMI, INIT and start-up") {
    auto b = xapic();
    for (auto const entry : lvt_registers)
        b.set(entry, 0x50);
    CHECK(b.accept(0x80) == lapic_request::interrupt);
    b.set(reg::spurious_interrupt_vector, 0xff);
    for (auto const entry : lvt_registers) {
        CHECK(b.get(entry) == (lvt::masked | 0x50));
        b.set(entry, 0x60);
        CHECK(b.get(entry) == (lvt::masked | 0x60));
    }
    CHECK(b.accept(0x90) == lapic_request::nothing);
    CHECK(b.accept(0x05) == lapic_request::nothing);
    CHECK(b.apic.pending_vector() == 0x80); // what was there is held
    auto const message = [&](delivery_mode mode) { return b.apic.accept(b.context, {.vector = 0x90, .mode = mode}); };
    CHECK(message(delivery_mode::nmi) == lapic_request::nmi);
    CHECK(message(delivery_mode::init) == lapic_request::init);
    CHECK(message(delivery_mode::start_up) == lapic_request::start_up);
    CHECK(message(delivery_mode::smi) == lapic_request::smi);
    CHECK(message(delivery_mode::external) == lapic_request::nothing);
    b.enable();
    CHECK(b.get(reg::lvt_timer) == (lvt::masked | 0x60)); // software unmasks, entry by entry
}

TEST_CASE("what a message asks of the processor") {
    auto b = xapic();
    auto const ask = [&](interrupt_message m) { return b.apic.accept(b.context, m); };
    CHECK(ask({.vector = 0x40}) == lapic_request::interrupt);
    CHECK(ask({.vector = 0x41, .mode = delivery_mode::lowest_priority}) == lapic_request::interrupt);
    CHECK(ask({.mode = delivery_mode::smi}) == lapic_request::smi);
    CHECK(ask({.mode = delivery_mode::nmi}) == lapic_request::nmi);
    CHECK(ask({.mode = delivery_mode::init}) == lapic_request::init);
    CHECK(ask({.mode = delivery_mode::init, .deassert = true}) == lapic_request::nothing);
    CHECK(ask({.vector = 0x9a, .mode = delivery_mode::start_up}) == lapic_request::start_up);
    CHECK(ask({.mode = delivery_mode::external}) == lapic_request::external);
    CHECK(ask({.vector = 0x40, .mode = static_cast<delivery_mode>(3)}) == lapic_request::nothing);
}

TEST_CASE("the end of an interrupt is noticed where the task priority alone holds the next one back") {
    auto b = xapic();
    b.set(reg::task_priority, 0x60);
    (void)b.accept(0x6f);
    (void)b.accept(0x70);
    b.take(0x70);
    b.apic.take_moved();
    b.end();
    CHECK(b.apic.held_back());
    CHECK(b.apic.moved());
}
