// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/memory/change_word.hpp>

#include <thread>

namespace {

struct serial {
    static constexpr bool callers_are_serial{true};
};
struct parallel {
    static constexpr bool callers_are_serial{false};
};
struct silent {};

} // namespace

static_assert(hv::is_alone<serial> and not hv::is_alone<parallel> and not hv::is_alone<silent>);

TEMPLATE_TEST_CASE("a change answers what was there and leaves the other bits", "", serial, parallel, silent) {
    std::uint8_t byte{0x89};
    CHECK(hv::set_bits_of<TestType>(&byte, std::uint8_t{0x02}) == 0x89);
    CHECK(byte == 0x8b);
    CHECK(hv::clear_bits_of<TestType>(&byte, std::uint8_t{0x03}) == 0x8b);
    CHECK(byte == 0x88);
    std::uint64_t word{5};
    hv::count_up<TestType>(&word);
    CHECK(word == 6);
    CHECK(hv::replace_word<TestType>(&word, std::uint64_t{6}, std::uint64_t{9}));
    CHECK(word == 9);
}

TEST_CASE("a word that somebody else changed is not replaced") {
    std::uint64_t word{5};
    CHECK_FALSE(hv::replace_word<parallel>(&word, std::uint64_t{4}, std::uint64_t{9}));
    CHECK(word == 5);
}

TEST_CASE("no change is lost between two threads") {
    constexpr unsigned rounds{100'000};
    std::uint64_t count{};
    std::uint32_t bits{};
    auto const work = [&](std::uint32_t mine) {
        for (unsigned n{}; n != rounds; ++n) {
            hv::count_up<parallel>(&count);
            if ((hv::set_bits_of<parallel>(&bits, mine) & mine) != 0 or
                (hv::clear_bits_of<parallel>(&bits, mine) & mine) == 0)
                return false;
        }
        return true;
    };
    bool first{}, second{};
    std::thread other{[&] { second = work(2); }};
    first = work(1);
    other.join();
    CHECK(first);
    CHECK(second);
    CHECK(count == 2 * rounds);
}
