// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/guest/elf.hpp>

#include "guest/test_memory.hpp"

namespace {

constexpr hv::guest::memory_layout layout{64ull << 20};

auto load(hv::guest::file image, test::sparse_memory& memory, hv::guest::elf::placement& where) -> hv::guest::refusal {
    hv::guest::elf::executable parsed{};
    if (auto const no = hv::guest::elf::parse(image, parsed))
        return no;
    return hv::guest::elf::load(memory, parsed, layout, hv::guest::one_mib, where);
}

auto reason_for(test::elf_options const& options) -> std::string {
    auto const file = test::make_elf(options);
    test::sparse_memory memory{layout};
    hv::guest::elf::placement where{};
    auto const answer = load(file, memory, where);
    CHECK(memory.touched() == 0);
    CHECK((answer.error == hv::status::ok) == answer.reason.empty());
    return std::string{answer.reason};
}

} // namespace

TEST_CASE("an ELF file of either class goes to its physical addresses and the rest of a segment is zero") {
    bool const is_64 = GENERATE(false, true);
    auto const file = test::make_elf({.is_64 = is_64, .machine = static_cast<std::uint16_t>(is_64 ? 62 : 3)});
    test::sparse_memory memory{layout};
    for (std::uint64_t a{0x1000000}; a != 0x1003000; ++a)
        *memory.at(hv::gpa{a}, hv::access::write) = std::byte{0xcc};
    hv::guest::elf::placement where{};
    REQUIRE(load(file, memory, where).error == hv::status::ok);
    CHECK(where.first == 0x1000000);
    CHECK(where.end == 0x1003000);
    CHECK(where.entry == 0x1000000);
    for (std::uint64_t i{}; i != 0x100; ++i)
        REQUIRE(memory.read<std::uint8_t>(0x1000000 + i) == (i ^ 0x5a));
    for (std::uint64_t i{0x100}; i != 0x3000; ++i)
        REQUIRE(memory.read<std::uint8_t>(0x1000000 + i) == 0);
}

TEST_CASE("a virtual entry point is translated through its segment") {
    auto const file = test::make_elf({.entry = 0xffffffff81000040});
    test::sparse_memory memory{layout};
    hv::guest::elf::placement where{};
    REQUIRE(load(file, memory, where).error == hv::status::ok);
    CHECK(where.entry == 0x1000040);
}

TEST_CASE("a bad ELF file is refused with its reason before anything is written") {
    CHECK(reason_for({.machine = 183}) == "The ELF file is for another architecture than x86.");
    CHECK(reason_for({.is_64 = false, .machine = 62}) == "The ELF file is for another architecture than x86.");
    CHECK(reason_for({.type = 3}) == "The ELF file is not an executable at fixed addresses.");
    CHECK(reason_for({.type = 1}) == "The ELF file is not an executable at fixed addresses.");
    CHECK(reason_for({.entry = 0x2000000}) == "The entry point of the ELF file lies in none of its segments.");
    CHECK(reason_for({.memory_size = 0xff}) == "A segment of the ELF file has more bytes than memory.");
    CHECK(reason_for({.file_size = 0x101}) == "The ELF file ends inside a segment.");
    CHECK(reason_for({.file_size = 0, .memory_size = 0}) == "No segment of the ELF file is to be loaded.");
    CHECK(reason_for({.physical_address = 0x9000}) == "A segment of the ELF file lies where the loader's tables go.");
    for (auto const beyond : {0x3fff000ull, 0x4000000ull, 0xffffffffffffff00ull, 0xc0000000ull})
        CHECK(reason_for({.entry = beyond, .physical_address = beyond}) ==
              "A segment of the ELF file lies beyond the guest's memory.");
    CHECK(reason_for({.memory_size = UINT64_MAX}) == "A segment of the ELF file lies beyond the guest's memory.");
}

TEST_CASE("segments that overlap so much that loading them would take for ever are refused") {
    auto file = test::make_elf({.memory_size = 0x2f00000});
    std::size_t const copies{100};
    file.put<std::uint16_t>(56, copies);
    file.put<std::uint64_t>(32, 0x1000);
    for (std::size_t copy{}; copy != copies; ++copy)
        for (std::size_t i{}; i != 56; ++i)
            file.put<std::uint8_t>(0x1000 + copy * 56 + i, std::to_integer<std::uint8_t>(file.content[64 + i]));
    test::sparse_memory memory{layout};
    hv::guest::elf::placement where{};
    CHECK(load(file, memory, where).reason == "The segments of the ELF file overlap.");
}

TEST_CASE("a header that is cut anywhere or claims too much is refused") {
    auto const whole = test::make_elf({});
    for (std::size_t size{}; size != whole.content.size(); ++size) {
        auto const part = whole.first(size);
        test::sparse_memory memory{layout};
        hv::guest::elf::placement where{};
        CHECK(load(part, memory, where).error != hv::status::ok);
    }
    auto const reason = [](std::size_t offset, std::uint16_t value) {
        auto file = test::make_elf({});
        file.put<std::uint16_t>(offset, value);
        test::sparse_memory memory{layout};
        hv::guest::elf::placement where{};
        return std::string{load(file, memory, where).reason};
    };
    CHECK(reason(56, 0) == "The ELF file has no program headers, so nothing says where it loads.");
    CHECK(reason(56, 0xffff) == "The ELF file ends inside its program headers.");
    CHECK(reason(54, 55) == "The program headers of the ELF file are too small.");
    CHECK(reason(38, 0xffff) == "The ELF file ends inside its program headers.");
    CHECK(reason(4, 0x0103) == "The ELF file is neither of the 32-bit nor of the 64-bit class.");
    CHECK(reason(4, 0x0202) == "The ELF file is not little-endian.");
    CHECK(reason(0, 0) == "The image is not an ELF file.");
}

TEST_CASE("memory that does not take a write ends the loading") {
    auto const file = test::make_elf({});
    test::sparse_memory memory{layout};
    memory.refused_page = 0x1002000;
    hv::guest::elf::placement where{};
    CHECK(load(file, memory, where).error == hv::status::bad_address);
}
