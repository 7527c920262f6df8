// SPDX-License-Identifier: BSD-2-Clause
#include <hv/text.hpp>

#include <catch2/catch.hpp>

#include <cstdint>

TEST_CASE("a line shows numbers in both bases at their extremes") {
    hv::text_line<> line;
    CHECK(line.hex(0).character(' ').hex(UINT64_MAX).view() == "0 ffffffffffffffff");
    CHECK(line.clear().decimal(0).character(' ').decimal(UINT64_MAX).view() == "0 18446744073709551615");
    CHECK(line.clear().decimal(10).character(' ').decimal(99).view() == "10 99");
}

TEST_CASE("a hexadecimal number is padded to the digits asked for and never shortened") {
    hv::text_line<> line;
    CHECK(line.hex(0xab, 4).character(' ').hex(0x12345, 2).character(' ').hex(1, 16).view() ==
          "00ab 12345 0000000000000001");
    CHECK(line.clear().hex(7, 0).view() == "7");
    CHECK(line.clear().hex(7, 99).view() == "0000000000000007");
}

TEST_CASE("what does not fit into a line is cut off") {
    hv::text_line<6> line;
    line.text("abc").decimal(12345);
    CHECK(line.view() == "abc123");
    CHECK(line.is_full());
    CHECK(line.text("more").view() == "abc123");
}
