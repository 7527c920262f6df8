// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <kernel_glue/bare/tsc_exchange.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

using hv::bare::tsc_difference;
using hv::bare::tsc_exchange;

namespace {

/// One counter that all read; each reading moves it, so that no two are the same.
std::atomic<std::uint64_t> common{1'000'000};
auto read_common() -> std::uint64_t {
    return common.fetch_add(1);
}

auto compare_with(auto read_other) -> tsc_difference {
    tsc_exchange exchange;
    std::thread other{[&] { exchange.answer(read_other); }};
    tsc_difference found{};
    CHECK(exchange.compare(read_common, [] { return false; }, found));
    other.join();
    return found;
}

} // namespace

TEST_CASE("two processors that share a counter differ by nothing") {
    auto const found = compare_with(read_common);
    CHECK(found.ahead == 0);
    CHECK(found.constant);
    CHECK(found.spread <= 2);
}

TEST_CASE("a counter that is ahead or behind is found out to a tick or two") {
    for (auto const lead : {std::int64_t{1} << 40, std::int64_t{-5000}, std::int64_t{3}, std::int64_t{-900'000}}) {
        auto const found = compare_with([lead] { return read_common() + static_cast<std::uint64_t>(lead); });
        CHECK(found.constant);
        CHECK(found.ahead >= lead - 2);
        CHECK(found.ahead <= lead + 2);
    }
}

TEST_CASE("a difference across the end of the counter's range is one all the same") {
    auto const found = compare_with([] { return read_common() - 2'000'000'000; });
    CHECK(found.ahead <= -2'000'000'000 + 2);
    CHECK(found.ahead >= -2'000'000'000 - 2);
}

TEST_CASE("a counter that runs at another rate is told apart from one that is ahead") {
    auto const found = compare_with([reading = std::uint64_t{0}]() mutable { return reading += 1'000'000; });
    CHECK_FALSE(found.constant);
}

TEST_CASE("a processor that does not answer is given up, and learns that when it comes") {
    tsc_exchange exchange;
    unsigned asked{0};
    tsc_difference found{};
    CHECK_FALSE(exchange.compare(read_common, [&] { return ++asked == 100; }, found));
    exchange.answer(read_common); // returns at once
    CHECK(asked == 100);
}
