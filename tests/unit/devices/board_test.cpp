// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/board.hpp>

#include <vector>

namespace {

struct nothing {};

/// Remembers what reached it; First and Widest place it on the bus.
template <std::uint16_t First, std::uint16_t Count, std::uint8_t Widest>
struct probe {
    static constexpr char const* name{"probe"};
    static constexpr std::array ports{hv::port_range{.first = First, .count = Count, .widest = Widest}};
    static constexpr std::array mmio{hv::mmio_range{.first = First * 0x1000ull, .size = 0x100}};
    struct access {
        std::uint16_t port;
        unsigned size;
        std::uint32_t value;
        auto operator==(access const&) const -> bool = default;
    };
    std::vector<access> writes{};
    hv::instant due{hv::never};
    int expired{};

    auto read_port(auto&, std::uint16_t port, unsigned size) -> std::uint32_t {
        return size == 1 ? static_cast<std::uint8_t>(port) : port * 0x10001u;
    }
    void write_port(auto&, std::uint16_t port, unsigned size, std::uint32_t value) {
        writes.push_back({port, size, value});
    }
    auto read_mmio(auto&, std::uint64_t offset, unsigned) -> std::uint64_t { return First + offset; }
    void write_mmio(auto&, std::uint64_t, unsigned, std::uint64_t) {}
    auto deadline() const -> hv::instant { return due; }
    void expire(auto&) {
        ++expired;
        due = hv::never;
    }
    void reset(auto&) {}
};

using low = probe<0x40, 4, 1>;
using high = probe<0x44, 2, 2>;
using wide = probe<0x608, 4, 4>;
using lonely = probe<0x61, 1, 1>;
using devices = hv::device_set<wide, low, high>;

} // namespace

TEST_CASE("an access of the right width reaches its device in one piece") {
    hv::board<devices::of_machine> board;
    nothing context;
    bool claimed{true};
    board.write_port(context, 0x608, 4, 0xdeadbeef, claimed);
    CHECK(claimed);
    CHECK(board.get<wide>().writes == std::vector<wide::access>{{0x608, 4, 0xdeadbeef}});
    CHECK(board.read_port(context, 0x44, 2, claimed) == 0x44u * 0x10001);
}

TEST_CASE("a device of one port is told that port") {
    hv::board<hv::device_set<low, lonely>::of_machine> board;
    nothing context;
    bool claimed{true};
    CHECK(board.read_port_byte(context, 0x61, claimed) == 0x61);
    CHECK(board.read_port_byte(context, 0x43, claimed) == 0x43);
    CHECK(claimed);
    CHECK(board.read_port_byte(context, 0x62, claimed) == 0xff);
    CHECK_FALSE(claimed);
}

TEST_CASE("a maker of contexts is asked once for a port that a device owns, and never for nobody's") {
    hv::board<devices::of_machine> board;
    struct {
        int made{};
        auto make() -> nothing { return ++made, nothing{}; }
    } maker;
    bool claimed{true};
    CHECK(board.read_port_byte(maker, 0x42, claimed) == 0x42);
    CHECK(maker.made == 1);
    CHECK(board.read_port_byte(maker, 0x100, claimed) == 0xff);
    CHECK_FALSE(claimed);
    CHECK(maker.made == 1);
}

TEST_CASE("a wider access is split into bytes, across devices and over the edge") {
    hv::board<devices::of_machine> board;
    nothing context;
    bool claimed{true};
    board.write_port(context, 0x42, 4, 0x44332211, claimed);
    CHECK(claimed);
    CHECK(board.get<low>().writes == std::vector<low::access>{{0x42, 1, 0x11}, {0x43, 1, 0x22}});
    CHECK(board.get<high>().writes == std::vector<high::access>{{0x44, 1, 0x33}, {0x45, 1, 0x44}});
    CHECK(board.read_port(context, 0x3f, 2, claimed) == 0x40ffu);
    CHECK(claimed);
    CHECK(board.read_port(context, 0x45, 4, claimed) == 0xffffff45u);
}

TEST_CASE("nobody's port reads as ones and says so") {
    hv::board<devices::of_machine> board;
    nothing context;
    for (unsigned const size : {1u, 2u, 4u}) {
        bool claimed{true};
        auto const value = board.read_port(context, 0x100, size, claimed);
        CHECK_FALSE(claimed);
        CHECK((value & (0xffffffffu >> (32 - 8 * size))) == 0xffffffffu >> (32 - 8 * size));
        claimed = true;
        board.write_port(context, 0xffff, size, 0, claimed);
        CHECK_FALSE(claimed);
    }
}

TEST_CASE("a memory access belongs to a device only if all of it does") {
    hv::board<devices::of_machine> board;
    nothing context;
    std::uint64_t value{};
    CHECK(board.read_mmio(context, 0x40000 + 0xf8, 8, value));
    CHECK(value == 0x40 + 0xf8);
    CHECK_FALSE(board.read_mmio(context, 0x40000 + 0xfc, 8, value));
    CHECK_FALSE(board.read_mmio(context, 0x3ffff, 1, value));
    CHECK_FALSE(board.read_mmio(context, ~0ull, 1, value));
}

TEST_CASE("the earliest deadline counts, and only due timers fire") {
    hv::board<devices::of_machine> board;
    struct {
        hv::instant time{};
        auto now() const -> hv::instant { return time; }
    } context;
    CHECK(board.deadline() == hv::never);
    board.get<low>().due = hv::instant{20};
    board.get<wide>().due = hv::instant{10};
    CHECK(board.deadline() == hv::instant{10});
    context.time = hv::instant{10};
    board.expire(context);
    CHECK(board.get<wide>().expired == 1);
    CHECK(board.get<low>().expired == 0);
    CHECK(board.deadline() == hv::instant{20});
}

TEST_CASE("an empty board owns nothing") {
    hv::board<hv::device_set<>::of_machine> board;
    nothing context;
    bool claimed{true};
    CHECK(board.read_port(context, 0, 1, claimed) == 0xff);
    CHECK_FALSE(claimed);
    CHECK(board.deadline() == hv::never);
}
