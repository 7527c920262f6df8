// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/pic_board.hpp>

#include <vector>

using namespace hv;
using board = test::pic_board;
using test::ready_pic;

TEST_CASE("before its initialisation the pair takes masks but requests nothing") {
    board b;
    b.out(0x21, 0xfb); // how Linux looks for an 8259
    CHECK(b.in(0x21) == 0xfb);
    b.out(0x21, 0);
    CHECK(b.raise(3) == status::ok);
    CHECK_FALSE(b.requested());
    CHECK(b.lower(3) == status::ok); // the count was kept
}

TEST_CASE("a pulse becomes the vector of its line, on either chip") {
    auto b = ready_pic();
    for (unsigned line{}; line < 16; ++line) {
        if (line == 2)
            continue;
        INFO("line " << line);
        CHECK(b.pulse(line) == status::ok);
        CHECK(b.requested());
        CHECK(b.acknowledge() == 0x20 + line);
        CHECK_FALSE(b.requested());
        CHECK(b.master_isr() == (line < 8 ? 1u << line : 4u));
        CHECK(b.slave_isr() == (line < 8 ? 0u : 1u << (line - 8)));
        if (line >= 8)
            b.out(0xa0, 0x20);
        b.out(0x20, 0x20);
        CHECK(b.master_isr() == 0);
        CHECK(b.slave_isr() == 0);
    }
}

TEST_CASE("lines that do not exist are refused, the cascade among them") {
    auto b = ready_pic();
    for (unsigned const line : {2u, 16u, 0xffffffffu}) {
        CHECK(b.raise(line) == status::invalid_argument);
        CHECK(b.lower(line) == status::invalid_argument);
        CHECK(b.pulse(line) == status::invalid_argument);
    }
}

TEST_CASE("assertions are counted and bounded") {
    auto b = ready_pic();
    CHECK(b.lower(5) == status::out_of_range);
    CHECK(b.raise(5) == status::ok);
    CHECK(b.raise(5) == status::ok);
    CHECK(b.acknowledge() == 0x25);
    b.out(0x20, 0x20);
    CHECK_FALSE(b.requested()); // one edge for two sources
    CHECK(b.lower(5) == status::ok);
    CHECK(b.lower(5) == status::ok);
    auto image = b.pic.save(b.context);
    image.chip[0].level[5] = 0xffffffff;
    REQUIRE(b.pic.restore(b.context, image) == status::ok);
    CHECK(b.raise(5) == status::too_big);
    CHECK(b.pulse(5) == status::too_big);
    CHECK(b.lower(5) == status::ok);
}

TEST_CASE("fully nested mode: higher requests interrupt, equal and lower ones wait") {
    auto b = ready_pic();
    CHECK(b.pulse(4) == status::ok);
    CHECK(b.pulse(6) == status::ok);
    CHECK(b.acknowledge() == 0x24);
    CHECK_FALSE(b.requested());
    CHECK(b.pulse(4) == status::ok);
    CHECK_FALSE(b.requested());
    CHECK(b.pulse(1) == status::ok);
    CHECK(b.requested());
    CHECK(b.acknowledge() == 0x21);
    CHECK(b.master_isr() == 0x12);
    CHECK(b.master_irr() == 0x50);
    b.out(0x20, 0x20); // ends 1, the highest in service
    CHECK(b.master_isr() == 0x10);
    CHECK_FALSE(b.requested());
    b.out(0x20, 0x20);
    CHECK(b.acknowledge() == 0x24);
    b.out(0x20, 0x20);
    CHECK(b.acknowledge() == 0x26);
}

TEST_CASE("lines 8 to 15 rank between 1 and 3") {
    auto b = ready_pic();
    CHECK(b.pulse(3) == status::ok);
    CHECK(b.pulse(15) == status::ok);
    CHECK(b.pulse(8) == status::ok);
    CHECK(b.pulse(1) == status::ok);
    CHECK(b.master_irr() == 0x0e);
    unsigned const order[]{0x21, 0x28, 0x2f, 0x23};
    for (auto const vector : order) {
        CHECK(b.acknowledge() == vector);
        if (vector >= 0x28)
            b.out(0xa0, 0x20);
        b.out(0x20, 0x20);
    }
    CHECK_FALSE(b.requested());
}

TEST_CASE("a masked request waits in IRR until it is unmasked") {
    auto b = ready_pic();
    b.out(0x21, 0x20);
    CHECK(b.in(0x21) == 0x20);
    CHECK(b.pulse(5) == status::ok);
    CHECK_FALSE(b.requested());
    CHECK(b.master_irr() == 0x20);
    b.out(0x21, 0);
    CHECK(b.requested());
    CHECK(b.acknowledge() == 0x25);
}

TEST_CASE("masking the cascade silences the slave") {
    auto b = ready_pic();
    b.out(0x21, 4);
    CHECK(b.pulse(12) == status::ok);
    CHECK_FALSE(b.requested());
    b.out(0x21, 0);
    CHECK(b.acknowledge() == 0x2c);
}

TEST_CASE("INTA without a request answers input 7 and puts nothing into service") {
    auto b = ready_pic();
    CHECK(b.acknowledge() == 0x27);
    CHECK(b.master_isr() == 0);
    b.out(0x4d0, 0x20);
    CHECK(b.raise(5) == status::ok);
    CHECK(b.requested());
    CHECK(b.lower(5) == status::ok); // gone before the processor asked
    CHECK_FALSE(b.requested());
    CHECK(b.acknowledge() == 0x27);
    CHECK(b.pulse(7) == status::ok); // a real one is told apart by its ISR bit
    CHECK(b.acknowledge() == 0x27);
    CHECK(b.master_isr() == 0x80);
}

TEST_CASE("a slave request that vanished before INTA is spurious at the master") {
    auto b = ready_pic();
    b.out(0x4d1, 0x08);
    CHECK(b.raise(11) == status::ok);
    CHECK(b.requested());
    CHECK(b.lower(11) == status::ok);
    CHECK(b.acknowledge() == 0x27);
    CHECK(b.master_isr() == 0);
    CHECK(b.slave_isr() == 0);
    CHECK(b.pulse(15) == status::ok);
    CHECK(b.acknowledge() == 0x2f);
    CHECK(b.slave_isr() == 0x80);
}

TEST_CASE("a level-triggered line asks again after EOI as long as it is asserted") {
    auto b = ready_pic();
    b.out(0x4d1, 0x08);
    CHECK(b.raise(11) == status::ok);
    CHECK(b.acknowledge() == 0x2b);
    CHECK_FALSE(b.requested());
    b.out(0xa0, 0x20);
    b.out(0x20, 0x20);
    CHECK(b.requested());
    CHECK(b.acknowledge() == 0x2b);
    CHECK(b.lower(11) == status::ok);
    b.out(0xa0, 0x20);
    b.out(0x20, 0x20);
    CHECK_FALSE(b.requested());
    CHECK(b.slave_irr() == 0);
}

TEST_CASE("the edge/level registers hold only the lines that can be level-triggered") {
    auto b = ready_pic();
    b.out(0x4d0, 0xff);
    b.out(0x4d1, 0xff);
    CHECK(b.in(0x4d0) == 0xf8);
    CHECK(b.in(0x4d1) == 0xde);
    for (unsigned const line : {0u, 1u, 2u, 8u, 13u, 16u})
        CHECK(b.pic.set_level_triggered(b.context, line, true) == status::invalid_argument);
    CHECK(b.pic.set_level_triggered(b.context, 0, false) == status::ok);
    CHECK(b.pic.set_level_triggered(b.context, 16, false) == status::invalid_argument);
    CHECK(b.pic.set_level_triggered(b.context, 3, false) == status::ok);
    CHECK(b.pic.set_level_triggered(b.context, 14, false) == status::ok);
    CHECK(b.in(0x4d0) == 0xf0);
    CHECK(b.in(0x4d1) == 0x9e);
    CHECK(b.pic.set_level_triggered(b.context, 3, true) == status::ok);
    CHECK(b.in(0x4d0) == 0xf8);
}

TEST_CASE("an edge that waits is forgotten when its line becomes level-triggered") {
    auto b = ready_pic();
    CHECK(b.pulse(5) == status::ok);
    b.out(0x4d0, 0x20);
    CHECK_FALSE(b.requested());
    CHECK(b.raise(5) == status::ok);
    CHECK(b.requested());
    b.out(0x4d0, 0);
    CHECK_FALSE(b.requested()); // now it takes an edge
    CHECK(b.lower(5) == status::ok);
    CHECK(b.raise(5) == status::ok);
    CHECK(b.requested());
}

TEST_CASE("a specific EOI ends the input it names") {
    auto b = ready_pic();
    CHECK(b.pulse(6) == status::ok);
    CHECK(b.acknowledge() == 0x26);
    CHECK(b.pulse(3) == status::ok);
    CHECK(b.acknowledge() == 0x23);
    b.out(0x20, 0x66);
    CHECK(b.master_isr() == 0x08);
    b.out(0x20, 0x63);
    CHECK(b.master_isr() == 0);
    b.out(0x20, 0x20); // nothing left: nothing happens
    b.out(0x20, 0x40); // OCW2's no-operation
    CHECK(b.master_isr() == 0);
}

TEST_CASE("rotation: on non-specific EOI, on specific EOI, and by command") {
    auto b = ready_pic();
    auto const serve_all = [&b] {
        std::vector<unsigned> order;
        for (unsigned line{}; line < 8; ++line)
            if (line != 2)
                CHECK(b.pulse(line) == status::ok);
        while (b.requested()) {
            order.push_back(b.acknowledge() - 0x20);
            b.out(0x20, 0x20);
        }
        return order;
    };
    CHECK(b.pulse(4) == status::ok);
    CHECK(b.acknowledge() == 0x24);
    b.out(0x20, 0xa0);
    CHECK(serve_all() == std::vector<unsigned>{5, 6, 7, 0, 1, 3, 4});
    CHECK(b.pulse(0) == status::ok);
    CHECK(b.acknowledge() == 0x20);
    b.out(0x20, 0xe0);
    CHECK(serve_all() == std::vector<unsigned>{1, 3, 4, 5, 6, 7, 0});
    b.out(0x20, 0xc5);
    CHECK(serve_all() == std::vector<unsigned>{6, 7, 0, 1, 3, 4, 5});
    b.out(0x20, 0xc7);
    CHECK(serve_all() == std::vector<unsigned>{0, 1, 3, 4, 5, 6, 7});
}

TEST_CASE("automatic EOI leaves nothing in service, and rotates if told to") {
    board b;
    b.initialize(0x03);
    CHECK(b.pulse(5) == status::ok);
    CHECK(b.acknowledge() == 0x25);
    CHECK(b.master_isr() == 0);
    CHECK(b.pulse(6) == status::ok);
    CHECK(b.pulse(5) == status::ok);
    CHECK(b.acknowledge() == 0x25);
    CHECK(b.acknowledge() == 0x26);
    b.out(0x20, 0x80); // rotate in automatic EOI mode: set
    CHECK(b.pulse(5) == status::ok);
    CHECK(b.acknowledge() == 0x25);
    CHECK(b.pulse(5) == status::ok);
    CHECK(b.pulse(6) == status::ok);
    CHECK(b.acknowledge() == 0x26);
    CHECK(b.acknowledge() == 0x25);
    b.out(0x20, 0x00); // clear; 6 has the highest priority now and keeps it
    CHECK(b.pulse(6) == status::ok);
    CHECK(b.acknowledge() == 0x26);
    CHECK(b.pulse(6) == status::ok);
    CHECK(b.pulse(7) == status::ok);
    CHECK(b.acknowledge() == 0x26);
    CHECK(b.acknowledge() == 0x27);
}

TEST_CASE("special mask mode: a masked input in service does not block the others") {
    auto b = ready_pic();
    CHECK(b.pulse(3) == status::ok);
    CHECK(b.acknowledge() == 0x23);
    CHECK(b.pulse(6) == status::ok);
    b.out(0x21, 0x08);
    CHECK_FALSE(b.requested());
    b.out(0x20, 0x68);
    CHECK(b.requested());
    CHECK(b.acknowledge() == 0x26);
    b.out(0x20, 0x20); // does not see the masked 3
    CHECK(b.master_isr() == 0x08);
    b.out(0x20, 0x20);
    CHECK(b.master_isr() == 0x08);
    b.out(0x20, 0x48); // mode off
    b.out(0x20, 0x20);
    CHECK(b.master_isr() == 0);
    b.out(0x20, 0x28); // without ESMM the SMM bit says nothing
    CHECK(b.pulse(3) == status::ok);
    b.out(0x21, 0);
    CHECK(b.acknowledge() == 0x23);
    b.out(0x21, 0x08);
    CHECK(b.pulse(6) == status::ok);
    CHECK_FALSE(b.requested());
}

TEST_CASE("special fully nested mode: a higher request of the slave interrupts the slave's own service") {
    for (auto const sfnm : {false, true}) {
        board b;
        b.initialize(sfnm ? 0x11 : 0x01);
        CHECK(b.pulse(12) == status::ok);
        CHECK(b.acknowledge() == 0x2c);
        CHECK(b.pulse(9) == status::ok);
        CHECK(b.requested() == sfnm);
        if (sfnm) {
            CHECK(b.acknowledge() == 0x29);
            CHECK(b.slave_isr() == 0x12);
        }
        CHECK(b.pulse(3) == status::ok); // below the slave: waits either way
        CHECK_FALSE(b.acknowledge() == 0x23);
    }
}

TEST_CASE("a poll answers and acknowledges the highest request, once") {
    auto b = ready_pic();
    b.out(0x20, 0x0c);
    CHECK(b.in(0x20) == 0); // nothing waits
    CHECK(b.pulse(5) == status::ok);
    b.out(0x20, 0x0f); // poll wins over read register
    CHECK(b.in(0x20) == 0x85);
    CHECK_FALSE(b.requested());
    CHECK(b.master_isr() == 0x20);
    b.out(0x20, 0x20);
    CHECK(b.pulse(10) == status::ok);
    b.out(0x20, 0x0c);
    CHECK(b.in(0x21) == 0x82); // either port
    b.out(0xa0, 0x0c);
    CHECK(b.in(0xa0) == 0x82);
    CHECK(b.slave_isr() == 0x04);
    CHECK(b.in(0x21) == 0); // the mask again
}

TEST_CASE("the register that reads show stays chosen; initialisation chooses IRR") {
    auto b = ready_pic();
    CHECK(b.pulse(5) == status::ok);
    CHECK(b.acknowledge() == 0x25);
    CHECK(b.pulse(6) == status::ok);
    CHECK(b.in(0x20) == 0x40);
    b.out(0x20, 0x0b);
    CHECK(b.in(0x20) == 0x20);
    CHECK(b.in(0x20) == 0x20);
    b.out(0x20, 0x08); // neither read command nor poll
    CHECK(b.in(0x20) == 0x20);
    b.out(0x20, 0x11);
    CHECK(b.in(0x20) == 0x00);
}

TEST_CASE("ICW1 clears edges, service, mask, priorities and modes; asserted levels stay") {
    board b;
    b.initialize(0x13);
    b.out(0x4d0, 0x20);
    CHECK(b.raise(5) == status::ok);
    CHECK(b.pulse(6) == status::ok);
    b.out(0x20, 0xc0);
    b.out(0x20, 0x68);
    b.out(0x21, 0x77);
    b.out(0x20, 0x11);
    CHECK_FALSE(b.requested());
    CHECK(b.in(0x21) == 0);
    CHECK(b.master_irr() == 0x20);
    b.out(0x21, 0x45); // the low bits are not part of the vector
    b.out(0x21, 0x04);
    CHECK_FALSE(b.requested());
    b.out(0x21, 0x01);
    CHECK(b.acknowledge() == 0x45);
    CHECK(b.pulse(0) == status::ok);
    CHECK(b.acknowledge() == 0x40); // 0 is first again
    CHECK(b.master_isr() == 0x21);
}

TEST_CASE("ICW1 without cascade or without ICW4 leaves those words out") {
    for (unsigned const icw1 : {0x10u, 0x11u, 0x12u, 0x13u, 0x19u}) {
        INFO("ICW1 " << icw1);
        board b;
        b.out(0x20, icw1);
        b.out(0x21, 0x50);
        if ((icw1 & 2) == 0)
            b.out(0x21, 0x04);
        if ((icw1 & 1) != 0)
            b.out(0x21, 0x01);
        b.out(0x21, 0xa5); // an OCW1 now
        CHECK(b.in(0x21) == 0xa5);
        CHECK(b.pulse(1) == status::ok);
        CHECK(b.acknowledge() == 0x51);
    }
}
