// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/lapic_board.hpp>

#include <random>

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint32_t periodic{1u << 17};
constexpr std::uint32_t tsc_deadline{2u << 17};

/// A fresh APIC on a machine with the same clocks, with the state of `b`.
auto copy_of(lapic_board& b) -> lapic_board {
    lapic_board other{b.apic.id(), b.apic.bootstrap_processor()};
    other.context.time = b.context.time;
    other.context.tsc_at_zero = b.context.tsc_at_zero;
    REQUIRE(other.apic.restore(other.context, b.image()) == status::ok);
    return other;
}

auto busy(lapic_board b) -> lapic_board {
    b.set(reg::task_priority, 0x21);
    if (not b.apic.x2apic()) {
        b.set(reg::logical_destination, 0x08000000);
        b.set(reg::destination_format, 0);
    }
    b.command(0x12, 0x4000 | 0x55);
    b.set(reg::lvt_cmci, 0xf0);
    b.set(reg::lvt_thermal_sensor, 0xf1);
    b.set(reg::lvt_performance_counter, 0x400);
    b.set(reg::lvt_lint0, 0x700);
    b.set(reg::lvt_lint1, 0x8400);
    b.set(reg::lvt_error, 0xfe);
    b.set(reg::lvt_timer, periodic | 0xef);
    b.set(reg::divide_configuration, 0b1000);
    b.context.time = {123'456'789};
    b.set(reg::initial_count, 1'000'000);
    CHECK(b.accept(0x31, true) == lapic_request::interrupt);
    CHECK(b.accept(0x92, true) == lapic_request::interrupt);
    b.take(0x92);
    CHECK(b.accept(0x01) == lapic_request::interrupt); // the error entry's vector
    (void)b.errors();
    b.apic.raise_error(x86::apic::esr::illegal_register_address);
    b.context.forget();
    return b;
}

} // namespace

TEST_CASE("a saved APIC has the layout and values of the reference interface") {
    auto b = busy(xapic(2));
    auto const image = b.image();
    CHECK(image.page.id == 2u << 24);
    CHECK(image.page.version == 0x00060014);
    CHECK(image.page.tpr == 0x21);
    CHECK(image.page.ldr == 0x08000000);
    CHECK(image.page.dfr == 0x0fffffff);
    CHECK(image.page.svr == 0x1ff);
    CHECK(image.page.isr[0x92 / 32] == 1u << (0x92 & 31));
    CHECK(image.page.irr[1] == 1u << (0x31 & 31));
    CHECK(image.page.tmr[1] == 1u << (0x31 & 31));
    CHECK(image.page.esr == x86::apic::esr::receive_illegal_vector);
    CHECK(image.esr_pending == x86::apic::esr::illegal_register_address);
    CHECK(image.page.icr == 0x12000000'00004055);
    CHECK(image.page.lvt_cmci == 0xf0);
    CHECK(image.page.lvt_thermal == 0xf1);
    CHECK(image.page.lvt_pcint == 0x400);
    CHECK(image.page.lvt_lint0 == 0x700);
    CHECK(image.page.lvt_lint1 == 0x8400);
    CHECK(image.page.lvt_error == 0xfe);
    CHECK(image.page.lvt_timer == (periodic | 0xef));
    CHECK(image.page.icr_timer == 1'000'000);
    CHECK(image.page.dcr_timer == 0b1000);
    CHECK(image.msr_apicbase == 0xfee00900);
    CHECK(image.timer_target == b.apic.deadline().since_creation);
}

TEST_CASE("a restored APIC is the same APIC, in every mode") {
    for (auto original : {busy(xapic(2)), busy(x2apic(0x123)), xapic(), lapic_board{9, false}}) {
        auto other = copy_of(original);
        CHECK(same(original.image(), other.image()));
        CHECK(other.apic.pending_vector() == original.apic.pending_vector());
        CHECK(other.apic.deadline() == original.apic.deadline());
        for (std::uint64_t offset{}; offset < 0x400; offset += 16)
            if (offset != 0x280)
                CHECK(other.apic.read_mmio(other.context, offset, 4) ==
                      original.apic.read_mmio(original.context, offset, 4));
    }
    lapic_board off;
    CHECK(off.set_base(0xfee00100));
    CHECK_FALSE(copy_of(off).apic.enabled());
}

TEST_CASE("a restored APIC goes on as the original would") {
    for (auto original : {busy(xapic(2)), busy(x2apic(0x123))}) {
        auto other = copy_of(original);
        for (auto* b : {&original, &other}) {
            b->end();
            b->take(0xfe); // above the 9x class in service until now
            b->end();
            b->set(reg::task_priority, 0);
            b->take(0x31);
            b->end();
            CHECK(b->context.ended == std::vector<std::uint8_t>{0x92, 0x31});
            b->context.time = b->apic.deadline();
            b->apic.expire(b->context);
            b->take(0xef);
            b->end();
        }
        CHECK(original.apic.deadline() - other.apic.deadline() <= 1); // a period's rounding
        CHECK(other.apic.deadline() - original.apic.deadline() <= 1);
    }
}

TEST_CASE("PPR is computed from what was restored") {
    auto b = busy(xapic(2));
    auto other = copy_of(b);
    CHECK(other.get(reg::processor_priority) == 0x90);
    auto image = b.image();
    image.page.tpr = 0xa7;
    REQUIRE(other.apic.restore(other.context, image) == status::ok);
    CHECK(other.get(reg::processor_priority) == 0xa7);
}

TEST_CASE("an armed TSC deadline is saved as the guest wrote it") {
    auto b = xapic();
    b.set(reg::lvt_timer, tsc_deadline | 0xef);
    CHECK(b.write_msr(0x6e0, 6'000'000));
    CHECK(b.image().timer_target == 6'000'000);
    auto other = copy_of(b);
    CHECK(other.read_msr(0x6e0) == 6'000'000);
    CHECK(other.apic.deadline() == instant{3'000'000});
    CHECK(b.write_msr(0x6e0, ~0ull));
    auto far = copy_of(b);
    CHECK(far.read_msr(0x6e0) == ~0ull);
    CHECK(b.write_msr(0x6e0, 0));
    CHECK(copy_of(b).apic.deadline() == never);
}

TEST_CASE("an APIC that was reset has no timer target to be refused") {
    auto b = busy(xapic(2));
    b.apic.reset(b.context);
    CHECK(b.image().timer_target == 0);
    CHECK(same(copy_of(b).image(), b.image()));
}

TEST_CASE("an impossible saved APIC is refused and changes nothing") {
    auto b = busy(xapic(2));
    auto const before = b.image();
    auto const refused = [&](auto mutate) {
        auto image = before;
        mutate(image);
        return b.apic.restore(b.context, image) == status::invalid_argument and same(before, b.image()) and
               b.apic.pending_vector() == 0xfe;
    };
    CHECK(refused([](auto& i) { i.page.id ^= 1u << 24; }));
    CHECK(refused([](auto& i) { i.page.id |= 1; }));
    CHECK(refused([](auto& i) { i.page.version = 0x00060010; }));
    CHECK(refused([](auto& i) { i.page.tpr = 0x100; }));
    for (unsigned v{}; v < 16; ++v) {
        CHECK(refused([v](auto& i) { i.page.isr[0] = 1u << v; }));
        CHECK(refused([v](auto& i) { i.page.irr[0] = 1u << v; }));
        CHECK(refused([v](auto& i) { i.page.tmr[0] = 1u << v; }));
    }
    for (unsigned v{16}; v < 256; v += 16) // two of one class, as near and as far as can be
        for (unsigned const distance : {1u, 8u, 15u})
            CHECK(refused([v, distance](auto& i) {
                i.page.isr[v / 32] |= 1u << v % 32;
                i.page.isr[(v + distance) / 32] |= 1u << (v + distance) % 32;
            }));
    for (unsigned bit{}; bit < 32; ++bit)
        if ((0xefu >> bit & 1) == 0 or bit > 7) {
            CHECK(refused([bit](auto& i) { i.page.esr = 1u << bit; }));
            CHECK(refused([bit](auto& i) { i.esr_pending = 1u << bit; }));
        }
    for (unsigned bit{}; bit < 64; ++bit)
        if (bit != 11)
            CHECK(refused([bit](auto& i) { i.msr_apicbase ^= 1ull << bit; })); // bit 10 alone: the id does not fit
    CHECK(refused([](auto& i) { i.msr_apicbase = 0xfee00500; }));
    CHECK(refused([](auto& i) { i.page.icr_timer = 0; }));
    CHECK(refused([](auto& i) { i.page.lvt_timer |= 3u << 17; }));
}

TEST_CASE("neighbouring classes may both be in service") {
    auto b = xapic();
    auto image = b.image();
    image.page.isr[1] = 1u << 15 | 1u << 16; // 2fh and 30h
    CHECK(b.apic.restore(b.context, image) == status::ok);
    CHECK(b.get(reg::processor_priority) == 0x30);
}

TEST_CASE("reserved bits of a saved APIC are dropped, and a disabled one restores masked") {
    auto b = xapic(2);
    auto image = b.image();
    image.page.ldr = image.page.dfr = ~0u;
    image.page.svr = 0x12ff; // software-disabled
    image.page.icr = ~0ull;
    image.page.lvt_cmci = image.page.lvt_thermal = image.page.lvt_pcint = 0xfffeffff;
    image.page.lvt_lint0 = image.page.lvt_lint1 = image.page.lvt_error = 0xfffeffff;
    image.page.lvt_timer = 0xfffaffff;
    image.page.dcr_timer = ~0u;
    image.timer_target = 0;
    REQUIRE(b.apic.restore(b.context, image) == status::ok);
    auto const out = b.image();
    CHECK(out.page.ldr == 0xff000000);
    CHECK(out.page.svr == 0x2ff);
    CHECK(out.page.icr == 0xff000000'000ccfff);
    CHECK(out.page.lvt_cmci == 0x000107ff);
    CHECK(out.page.lvt_lint0 == 0x0001a7ff);
    CHECK(out.page.lvt_error == 0x000100ff);
    CHECK(out.page.lvt_timer == 0x000300ff);
    CHECK(out.page.dcr_timer == 0b1011);
}

TEST_CASE("an APIC that is off restores empty, whatever else its image says") {
    auto b = busy(xapic(2));
    auto image = b.image();
    image.msr_apicbase = 0xfee00100;
    REQUIRE(b.apic.restore(b.context, image) == status::ok);
    CHECK_FALSE(b.apic.enabled());
    CHECK(b.apic.pending_vector() == -1);
    CHECK(b.apic.deadline() == never);
}

TEST_CASE("extreme timer targets overflow nothing") {
    for (auto const mode : {0u, periodic})
        for (auto const target : {INT64_MIN, std::int64_t{-1}, std::int64_t{1}, INT64_MAX - 1, INT64_MAX})
            for (auto const count : {1u, 0xffffffffu})
                for (auto const divide : {0b1011u, 0b1010u}) {
                    auto b = xapic();
                    auto image = b.image();
                    image.page.lvt_timer = mode | 0xef;
                    image.page.icr_timer = count;
                    image.page.dcr_timer = divide;
                    image.timer_target = target;
                    b.context.time = {nanoseconds_per_second};
                    REQUIRE(b.apic.restore(b.context, image) == status::ok);
                    CHECK(b.apic.deadline() <= instant{INT64_MAX / 2});
                    CHECK(b.get(reg::current_count) <= count);
                    b.set(reg::divide_configuration, divide ^ 1);
                    for (unsigned i{}; i < 3; ++i) {
                        b.apic.expire(b.context);
                        CHECK(b.get(reg::current_count) <= count);
                        b.context.advance(nanoseconds_per_second);
                    }
                    CHECK((b.apic.deadline() == never or b.apic.deadline() > instant{}));
                }
}

TEST_CASE("no image whatever breaks the APIC") {
    std::mt19937_64 random{0x1a91c};
    unsigned accepted{};
    for (unsigned round{}; round < 20'000; ++round) {
        auto b = xapic(2);
        auto image = b.image();
        auto* const bytes = reinterpret_cast<unsigned char*>(&image);
        for (unsigned i{}; i < round % 5 + 1; ++i)
            bytes[random() % sizeof image] = static_cast<unsigned char>(random());
        if (b.apic.restore(b.context, image) != status::ok)
            continue;
        ++accepted;
        auto const vector = b.apic.pending_vector();
        CHECK((vector == -1 or (vector >= 16 and vector < 256)));
        b.context.time = {nanoseconds_per_second};
        b.apic.expire(b.context);
        (void)b.apic.read_mmio(b.context, 0x390, 4);
        auto other = copy_of(b);
        CHECK(same(b.image(), other.image()));
    }
    CHECK(accepted > 1000);
}
