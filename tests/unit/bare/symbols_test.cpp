// SPDX-License-Identifier: BSD-2-Clause
#include <kernel_glue/bare/symbols.hpp>
#include <kernel_glue/bare/text.hpp>

#include <catch2/catch.hpp>

#include <array>

using namespace hv::bare;
using namespace std::literals;

TEST_CASE("an address belongs to the last function that starts at or below it") {
    constexpr std::array entries{symbol_entry{0x1000, 0}, symbol_entry{0x1010, 6}, symbol_entry{0x2000, 13},
                                 symbol_entry{0x3000, 99}};
    constexpr auto names{"first\0second\0third"sv};
    auto const at = [&](std::uint64_t a) { return find_symbol(entries, names, a); };
    CHECK(at(0xfff).name.empty());
    CHECK(at(0x1000).name == "first");
    CHECK(at(0x100f).name == "first");
    CHECK(at(0x100f).offset == 0xf);
    CHECK(at(0x1010).name == "second");
    CHECK(at(0x2fff).name == "third"); // its name ends with the table
    CHECK(at(0x2fff).offset == 0xfff);
    CHECK(at(0x3000).name.empty()); // a name outside of the table
    CHECK(find_symbol({}, names, 0x1000).name.empty());
}

TEST_CASE("text is put together and cut off") {
    CHECK(text{}.decimal(0).view() == "0");
    CHECK(text{}.decimal(UINT64_MAX).view() == "18446744073709551615");
    CHECK(text{}.hex(0).view() == "0");
    CHECK(text{}.hex(0x1234, 8).view() == "00001234");
    CHECK(text{}.hex(UINT64_MAX).view() == "ffffffffffffffff");
    CHECK((text{} << "a" << 'b').hex(12).view() == "abc");
    text t;
    for (int n{0}; n != 100; ++n)
        t << "abc";
    CHECK(t.view().size() == 240);
    t.clear();
    CHECK(t.view().empty());
}
