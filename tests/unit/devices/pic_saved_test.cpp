// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/pic_board.hpp>

#include <random>

using namespace hv;
using board = test::pic_board;
using test::ready_pic;
using test::same;

TEST_CASE("a saved pair restores to the same behaviour at every step of an initialisation") {
    for (unsigned const icw1 : {0x10u, 0x11u, 0x12u, 0x13u})
        for (unsigned words{}; words < 4; ++words) {
            board b;
            CHECK(b.raise(5) == status::ok);
            b.out(0x20, icw1);
            unsigned const sequence[]{0x50, (icw1 & 2) != 0 ? 0x03u : 0x04u, 0x03};
            for (unsigned i{}; i < words; ++i)
                b.out(0x21, sequence[i]);
            auto const image = b.pic.save(b.context);
            board other;
            REQUIRE(other.pic.restore(other.context, image) == status::ok);
            CHECK(same(image, other.pic.save(other.context)));
            for (auto* each : {&b, &other})
                for (unsigned i{words}; i < 3; ++i)
                    each->out(0x21, sequence[i]);
            CHECK(same(b.pic.save(b.context), other.pic.save(other.context)));
            CHECK(b.lower(5) == other.lower(5));
        }
}

TEST_CASE("a pair saved amid random use behaves like the original ever after") {
    std::mt19937 random{8259};
    auto const next = [&random] { return static_cast<unsigned>(random()); };
    std::uint16_t const ports[]{0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
    auto const step = [&ports](board& b, unsigned what, unsigned value) -> unsigned {
        switch (what % 8) {
        case 0:
        case 1:
            return static_cast<unsigned>(b.pulse(value % 17));
        case 2:
            return static_cast<unsigned>(b.raise(value % 17));
        case 3:
            return static_cast<unsigned>(b.lower(value % 17));
        case 4:
            return b.acknowledge();
        case 5:
            return b.in(ports[value % 6]);
        default:
            b.out(ports[value % 6], value >> 8 & ((value & 0x10000) != 0 ? 0xefu : 0xffu));
            return 0;
        }
    };
    for (unsigned round{}; round < 300; ++round) {
        auto b = ready_pic();
        for (unsigned i{}; i < 60; ++i)
            (void)step(b, next(), next());
        auto const image = b.pic.save(b.context);
        board other;
        REQUIRE(other.pic.restore(other.context, image) == status::ok);
        CHECK(other.requested() == b.requested());
        REQUIRE(same(image, other.pic.save(other.context)));
        for (unsigned i{}; i < 60; ++i) {
            auto const what = next();
            auto const value = next();
            REQUIRE(step(b, what, value) == step(other, what, value));
            REQUIRE(b.pic.interrupt_requested() == other.pic.interrupt_requested());
        }
        REQUIRE(same(b.pic.save(b.context), other.pic.save(other.context)));
    }
}

TEST_CASE("an impossible saved pair is refused and changes nothing") {
    auto b = ready_pic();
    CHECK(b.pulse(5) == status::ok);
    auto const before = b.pic.save(b.context);
    b.context.forget();
    auto const refused = [&](auto mutate) {
        auto image = before;
        mutate(image);
        return b.pic.restore(b.context, image) == status::invalid_argument and same(before, b.pic.save(b.context)) and
               b.context.interrupt_requests.empty();
    };
    for (unsigned chip{}; chip < 2; ++chip) {
        CHECK(refused([chip](auto& i) { i.chip[chip].icw_state = 4; }));
        CHECK(refused([chip](auto& i) { i.chip[chip].icw_state = 1; })); // and ready
        CHECK(refused([chip](auto& i) { i.chip[chip].lowprio = 8; }));
        CHECK(refused([chip](auto& i) { i.chip[chip].irq_base = 0x21; }));
    }
    CHECK(refused([](auto& i) { i.chip[0].elc = 0x04; }));
    CHECK(refused([](auto& i) { i.chip[1].elc = 0x20; }));
    CHECK(refused([](auto& i) { i.chip[1].elc = 0x01; }));
    CHECK(refused([](auto& i) { i.chip[0].level[2] = 1; }));
}

TEST_CASE("reset takes the output away and forgets everything") {
    auto b = ready_pic();
    CHECK(b.raise(5) == status::ok);
    CHECK(b.requested());
    b.pic.reset(b.context);
    CHECK_FALSE(b.requested());
    CHECK(b.lower(5) == status::out_of_range);
    CHECK(same(b.pic.save(b.context), board{}.pic.save(b.context)));
}
