// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <bench/pointers/board.hpp>

#include <array>
#include <random>
#include <vector>

namespace {

/// What a device saw, and in what order.
struct access {
    char const* what;
    std::uint64_t first, where;
    unsigned size;
    std::uint64_t value;
    auto operator==(access const&) const -> bool = default;
};
struct log_context {
    std::vector<access> seen{};
};

/// Writes down each access; a write of an odd value moves its deadline.
template <std::uint16_t First, std::uint16_t Count, std::uint8_t Widest>
struct probe {
    static constexpr char const* name{"probe"};
    static constexpr std::array ports{hv::port_range{.first = First, .count = Count, .widest = Widest},
                                      hv::port_range{.first = First + 0x100, .count = 1}};
    static constexpr std::array mmio{hv::mmio_range{.first = First * 0x10ull, .size = 0x18}};
    static constexpr std::array msrs{hv::msr_range{.first = First, .count = Count}};
    static constexpr bool reads_move_deadline{Widest == 2};
    hv::instant due{hv::never};

    auto note(auto& context, char const* what, std::uint64_t where, unsigned size, std::uint64_t value) {
        if constexpr (requires { context.seen; })
            context.seen.push_back({what, First, where, size, value});
        if ((value & 1) != 0)
            due = hv::instant{static_cast<hv::nanoseconds>(value)};
    }
    auto read_port(auto& context, std::uint16_t port, unsigned size) -> std::uint32_t {
        note(context, "in", port, size, 0);
        return port * 0x01010101u;
    }
    void write_port(auto& context, std::uint16_t port, unsigned size, std::uint32_t value) {
        note(context, "out", port, size, value);
    }
    auto read_mmio(auto& context, std::uint64_t offset, unsigned size) -> std::uint64_t {
        note(context, "load", offset, size, 0);
        return offset * 3;
    }
    void write_mmio(auto& context, std::uint64_t offset, unsigned size, std::uint64_t value) {
        note(context, "store", offset, size, value);
    }
    auto read_msr(auto& context, std::uint32_t index, std::uint64_t& value) -> bool {
        note(context, "rdmsr", index, 8, 0);
        value = index;
        return index % 2 == 0;
    }
    auto write_msr(auto& context, std::uint32_t index, std::uint64_t value) -> bool {
        note(context, "wrmsr", index, 8, value);
        return value != 0;
    }
    auto deadline() const -> hv::instant { return due; }
    void expire(auto&) { due = hv::never; }
    void reset(auto&) { due = hv::never; }
};

using some = hv::device_set<probe<0x60, 4, 4>, probe<0x40, 4, 1>, probe<0x44, 2, 2>, probe<0xffff - 0x100, 1, 1>>;
using more = hv::pointers::registered_devices<some>;

} // namespace

TEST_CASE("handlers in tables do what comparisons with constants do") {
    hv::board<some::of_machine> direct;
    hv::board<more::of_machine> pointed;
    log_context wanted, got;
    direct.reset(wanted);
    pointed.reset(got);
    pointed.reset(got); // registers anew
    std::mt19937_64 random{7};
    for (int i{0}; i < 50'000; ++i) {
        auto const what = random() % 6;
        auto const near = random() % 4 == 0 ? random() : 0x38 + random() % 0x40 + (random() % 3 == 0 ? 0x100 : 0);
        auto const value = random() >> (random() % 64);
        auto const port = static_cast<std::uint16_t>(near);
        auto const address = near * 0x10 + random() % 0x20;
        auto const size = 1u << random() % (what < 2 ? 3 : 4);
        auto const on = [&](auto& board, auto& context) -> std::array<std::uint64_t, 3> {
            bool claimed{true};
            std::uint64_t out{};
            switch (what) {
            case 0:
                return {board.read_port(context, port, size, claimed), claimed, 0};
            case 1:
                board.write_port(context, port, size, static_cast<std::uint32_t>(value), claimed);
                return {claimed, 0, 0};
            case 2:
                claimed = board.read_mmio(context, address, size, out);
                return {claimed, out, 0};
            case 3:
                return {board.write_mmio(context, address, size, value), 0, 0};
            case 4: {
                auto const answer =
                    static_cast<unsigned>(board.read_msr(context, static_cast<std::uint32_t>(near), out));
                return {answer, out, 0};
            }
            default:
                return {static_cast<unsigned>(board.write_msr(context, static_cast<std::uint32_t>(near), value)), 0, 0};
            }
        };
        auto const deadline = pointed.deadline();
        REQUIRE(on(direct, wanted) == on(pointed, got));
        REQUIRE(direct.deadline() == pointed.deadline());
        bool const may_have_moved{direct.take_timers_touched()}, noticed{pointed.take_timers_touched()};
        REQUIRE((noticed or pointed.deadline() == deadline));
        REQUIRE((may_have_moved or not noticed)); // split writes ask no device
    }
    CHECK(wanted.seen.size() > 4'000);
    CHECK(wanted.seen == got.seen);
}

namespace {
struct numbered {
    std::uint64_t first, end;
    int which;
};
} // namespace

TEST_CASE("a table takes no overlap and no more than it holds") {
    hv::pointers::sorted_table<numbered> table;
    REQUIRE(table.find(0) == nullptr);
    REQUIRE(table.add({10, 20, 1}));
    REQUIRE(table.add({30, 31, 2}));
    REQUIRE(table.add({0, 10, 3}));
    CHECK_FALSE(table.add({19, 21, 0}));
    CHECK_FALSE(table.add({20, 31, 0}));
    CHECK_FALSE(table.add({5, 6, 0}));
    CHECK_FALSE(table.add({0, 100, 0}));
    REQUIRE(table.find(19) != nullptr);
    CHECK(table.find(19)->which == 1);
    CHECK(table.find(30)->which == 2);
    CHECK(table.find(9)->which == 3);
    CHECK(table.find(20) == nullptr);
    CHECK(table.find(~0ull) == nullptr);
    for (std::uint64_t i{3}; i < table.capacity; ++i)
        REQUIRE(table.add({i * 100, i * 100 + 1, 0}));
    CHECK_FALSE(table.add({1, 2, 0}));
    CHECK_FALSE(table.add({100'000, 100'001, 0}));
}
