// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/guest/linux.hpp>

#include "guest/test_memory.hpp"

#include <random>

namespace linux_boot = hv::guest::linux_boot;
using hv::x86::segment_name;

namespace {

constexpr hv::guest::memory_layout layout{256ull << 20};

auto reason_of(hv::guest::load_result const& answer) -> std::string {
    CHECK(static_cast<bool>(answer) == answer.reason.empty());
    return std::string{answer.reason};
}

/// Where the 4-level tables at CR3 lead, with the checks of a processor that knows 2 MiB pages.
auto walk(test::sparse_memory& memory, std::uint64_t cr3, std::uint64_t address) -> std::uint64_t {
    constexpr std::uint64_t frame{0x000ffffffffff000};
    auto table = cr3;
    for (unsigned shift{39}; shift != 21; shift -= 9) {
        auto const entry = memory.read<std::uint64_t>(table + (address >> shift & 511) * 8);
        REQUIRE((entry & 0x83) == 3);
        table = entry & frame;
    }
    auto const leaf = memory.read<std::uint64_t>(table + (address >> 21 & 511) * 8);
    REQUIRE((leaf & 0x83) == 0x83);
    return (leaf & frame & ~0x1fffffull) | (address & 0x1fffff);
}

void check_long_mode(test::sparse_memory& memory, hv::guest::start_state const& start) {
    CHECK(start.mode == hv::guest::start_mode::long64);
    CHECK(start.cr0 == 0x80000011);
    CHECK(start.cr4 == 0x20);
    CHECK(start.efer == 0x500);
    CHECK(start.rflags == 2);
    CHECK(start.segment(segment_name::cs) == hv::x86::segment{.limit = 0xffffffff, .access = 0xa09b, .selector = 0x10});
    for (auto const name : {segment_name::ds, segment_name::es, segment_name::ss})
        CHECK(start.segment(name) == hv::x86::segment{.limit = 0xffffffff, .access = 0xc093, .selector = 0x18});
    CHECK((start.segment(segment_name::tr).access & 0x1009f) == 0x8b);
    CHECK((start.segment(segment_name::ldtr).access & 0x10000) != 0);
    CHECK(memory.read<std::uint64_t>(start.gdtr.base + 0x10) == 0x00af9b000000ffff);
    CHECK(memory.read<std::uint64_t>(start.gdtr.base + 0x18) == 0x00cf93000000ffff);
    CHECK(start.gdtr.limit == 0x1f);
    for (std::uint64_t const address : {0ull, 0x1fffffull, 0x1234567ull, 0x3fffffffull, 0x40000000ull, 0xffffffffull})
        CHECK(walk(memory, start.cr3, address) == address);
}

} // namespace

TEST_CASE("a vmlinux starts at its entry in 64-bit mode with the zero page in RSI") {
    auto const image = test::make_elf({});
    std::vector<std::byte> const initrd(0x1801, std::byte{0x77});
    hv::guest::boot_module const modules[]{{.bytes = initrd}};
    test::sparse_memory memory{layout};
    auto const answer = linux_boot::load_elf(
        memory,
        {.image = image, .command_line = "console=ttyS0 quiet", .modules = modules, .layout = layout, .rsdp = 0xe0000});
    REQUIRE(answer);
    check_long_mode(memory, answer.start);
    CHECK(answer.start.rip == 0x1000000);
    auto const zero = answer.start.reg(hv::x86::gpr::rsi);
    CHECK(memory.read<std::uint16_t>(zero + 0x1fe) == 0xaa55);
    CHECK(memory.read<std::uint32_t>(zero + 0x202) == 0x53726448);
    CHECK(memory.read<std::uint16_t>(zero + 0x206) == 0x20f);
    CHECK(memory.read<std::uint8_t>(zero + 0x210) == 0xff);
    CHECK(memory.read<std::uint8_t>(zero + 0x211) == 1);
    CHECK(memory.read<std::uint32_t>(zero + 0x230) == 0x200000);
    CHECK(memory.read<std::uint64_t>(zero + 0x70) == 0xe0000);
    CHECK(memory.text(memory.read<std::uint32_t>(zero + 0x228)) == "console=ttyS0 quiet");

    auto const at = memory.read<std::uint32_t>(zero + 0x218);
    CHECK(at == (256u << 20) - 0x2000);
    CHECK(memory.read<std::uint32_t>(zero + 0x21c) == 0x1801);
    CHECK(memory.read<std::uint8_t>(at) == 0x77);
    CHECK(memory.read<std::uint8_t>(at + 0x1800) == 0x77);

    REQUIRE(memory.read<std::uint8_t>(zero + 0x1e8) == 3);
    CHECK(memory.read<std::uint64_t>(zero + 0x2d0) == 0);
    CHECK(memory.read<std::uint64_t>(zero + 0x2d8) == 0xa0000);
    CHECK(memory.read<std::uint32_t>(zero + 0x2e0) == 1);
    CHECK(memory.read<std::uint64_t>(zero + 0x2d0 + 40) == 0x100000);
    CHECK(memory.read<std::uint64_t>(zero + 0x2d8 + 40) == (255u << 20));
}

TEST_CASE("a zero page holds nothing of what was in memory before") {
    auto const image = test::make_elf({});
    test::sparse_memory memory{layout};
    for (std::uint64_t a{}; a != 0xa000; ++a)
        *memory.at(hv::gpa{a}, hv::access::write) = std::byte{0xcc};
    auto const answer = linux_boot::load_elf(memory, {.image = image, .layout = layout});
    REQUIRE(answer);
    auto const zero = answer.start.reg(hv::x86::gpr::rsi);
    CHECK(memory.read<std::uint8_t>(zero + 0x1ef) == 0); // the sentinel: other values make Linux distrust the page
    CHECK(memory.read<std::uint64_t>(zero) == 0);        // no screen
    CHECK(memory.read<std::uint32_t>(zero + 0x218) == 0);
    CHECK(memory.read<std::uint64_t>(zero + 0x70) == 0);
    CHECK(memory.text(memory.read<std::uint32_t>(zero + 0x228)).empty());
    check_long_mode(memory, answer.start);
}

TEST_CASE("a bzImage starts at its 64-bit entry with its own setup header in the zero page") {
    auto const image = test::make_linux_image();
    test::sparse_memory memory{layout};
    auto const answer = linux_boot::load_image(memory, {.image = image, .command_line = "a=b", .layout = layout});
    REQUIRE(answer);
    check_long_mode(memory, answer.start);
    CHECK(answer.start.rip == 0x1000200);
    for (std::uint64_t i{}; i != 0x2000; ++i)
        REQUIRE(memory.read<std::uint8_t>(0x1000000 + i) == i % 251);
    auto const zero = answer.start.reg(hv::x86::gpr::rsi);
    CHECK(memory.read<std::uint8_t>(zero + 0x1f1) == 1);
    CHECK(memory.read<std::uint32_t>(zero + 0x202) == 0x53726448);
    CHECK(memory.read<std::uint64_t>(zero + 0x258) == 0x1000000);
    CHECK(memory.read<std::uint32_t>(zero + 0x260) == 0x5000);
    CHECK(memory.read<std::uint64_t>(zero + 0x268) == 0); // the file's code begins behind the header
    CHECK(memory.read<std::uint32_t>(zero + 0x214) == 0x1000000);
    CHECK(memory.read<std::uint8_t>(zero + 0x210) == 0xff);
    CHECK(memory.text(memory.read<std::uint32_t>(zero + 0x228)) == "a=b");
}

TEST_CASE("a relocatable bzImage moves down where its preferred address has no memory") {
    auto image = test::make_linux_image();
    constexpr hv::guest::memory_layout small{8ull << 20};
    test::sparse_memory memory{small};
    auto const moved = linux_boot::load_image(memory, {.image = image, .layout = small});
    REQUIRE(moved);
    CHECK(moved.start.rip == 0x200200);
    image.put<std::uint8_t>(0x234, 0);
    CHECK(reason_of(linux_boot::load_image(memory, {.image = image, .layout = small})) ==
          "The kernel does not fit into the guest's memory.");
    image.put<std::uint8_t>(0x234, 1);
    for (std::uint32_t const alignment : {0u, 3u, 0x80000000u, 0xffffffffu}) {
        image.put<std::uint32_t>(0x230, alignment);
        CHECK(reason_of(linux_boot::load_image(memory, {.image = image, .layout = small})) ==
              "The kernel does not fit into the guest's memory.");
    }
}

TEST_CASE("a bzImage that the 64-bit protocol cannot start is refused with its reason") {
    auto const reason = [](std::size_t offset, auto value) {
        auto image = test::make_linux_image();
        image.put<decltype(value)>(offset, value);
        test::sparse_memory memory{layout};
        auto const answer = linux_boot::load_image(memory, {.image = image, .layout = layout});
        CHECK((answer or memory.touched() == 0));
        return reason_of(answer);
    };
    CHECK(reason(0x202, std::uint32_t{}) == "The file has no Linux setup header.");
    CHECK(reason(0x1fe, std::uint16_t{}) == "The file has no Linux setup header.");
    CHECK(reason(0x206, std::uint16_t{0x20b}) == "The kernel's boot protocol is older than 2.12.");
    CHECK(reason(0x211, std::uint8_t{}) == "The kernel is a zImage, which loads low.");
    CHECK(reason(0x236, std::uint16_t{0xfffe}) == "The kernel has no 64-bit entry.");
    CHECK(reason(0x1f1, std::uint8_t{255}) == "The kernel ends before its code does.");
    CHECK(reason(0x1f4, std::uint32_t{0x201}) == "The kernel ends before its code does.");
    CHECK(reason(0x1f4, UINT32_MAX) == "The kernel ends before its code does.");
    CHECK(reason(0x260, std::uint32_t{0x1fff}) == "The kernel's init_size does not hold its code.");
    CHECK(reason(0x260, UINT32_MAX) == "The kernel does not fit into the guest's memory.");
    CHECK(reason(0x258, UINT64_MAX) == ""); // relocatable: goes elsewhere
}

TEST_CASE("what does not fit beside the kernel is refused") {
    auto const image = test::make_elf({});
    test::sparse_memory memory{layout};
    std::vector<std::byte> const huge((240u << 20) - 0x3000 + 1);
    hv::guest::boot_module const modules[]{{.bytes = huge}, {}};
    CHECK(reason_of(linux_boot::load_elf(memory, {.image = image, .modules = {modules, 1}, .layout = layout})) ==
          "The initial RAM disk does not fit between the kernel and the end of memory.");
    CHECK(reason_of(linux_boot::load_elf(memory, {.image = image, .modules = modules, .layout = layout})) ==
          "Linux takes one module, its initial RAM disk.");
    std::string const text(2048, 'x');
    CHECK(reason_of(linux_boot::load_elf(memory, {.image = image, .command_line = text, .layout = layout})) ==
          "The command line is longer than the kernel takes.");
    CHECK(linux_boot::load_elf(memory,
                               {.image = image, .command_line = std::string_view{text}.substr(1), .layout = layout}));
    auto greedy = test::make_linux_image();
    greedy.put<std::uint32_t>(0x238, UINT32_MAX);
    std::string const longer(0x10000, 'x');
    CHECK(reason_of(linux_boot::load_image(memory, {.image = greedy, .command_line = longer, .layout = layout})) ==
          "The command line is longer than the kernel takes.");
}

TEST_CASE("a kernel is told the frequency of its TSC, unless it knows") {
    auto const image = test::make_elf({});
    auto const line = [&](std::string_view given, std::uint64_t khz) {
        test::sparse_memory memory{layout};
        auto const answer =
            linux_boot::load_elf(memory, {.image = image, .command_line = given, .layout = layout, .tsc_khz = khz});
        REQUIRE(answer);
        return memory.text(memory.read<std::uint32_t>(answer.start.reg(hv::x86::gpr::rsi) + 0x228));
    };
    CHECK(line("quiet", 0) == "quiet");
    CHECK(line("quiet", 2'599'968) == "quiet tsc_early_khz=2599968");
    CHECK(line("", 1'000'000) == "tsc_early_khz=1000000");
    CHECK(line("tsc_early_khz=5 quiet", 2'599'968) == "tsc_early_khz=5 quiet");
    CHECK(line("tsc_early_khz", UINT64_MAX) == "tsc_early_khz tsc_early_khz=18446744073709551615");
    std::string const text(2040, 'x');
    test::sparse_memory memory{layout};
    CHECK(reason_of(
              linux_boot::load_elf(memory, {.image = image, .command_line = text, .layout = layout, .tsc_khz = 1})) ==
          "The command line is longer than the kernel takes.");
}

TEST_CASE("the initial RAM disk stays below the kernel's limit and below the hole") {
    auto image = test::make_linux_image();
    std::vector<std::byte> const initrd(0x1000);
    hv::guest::boot_module const modules[]{{.bytes = initrd}};
    auto const place = [&](std::uint64_t size) {
        hv::guest::memory_layout const big{size};
        test::sparse_memory memory{big};
        auto const answer = linux_boot::load_image(memory, {.image = image, .modules = modules, .layout = big});
        REQUIRE(answer);
        return memory.read<std::uint32_t>(answer.start.reg(hv::x86::gpr::rsi) + 0x218);
    };
    CHECK(place(8ull << 30) == 0x7ffff000);
    image.put<std::uint32_t>(0x22c, UINT32_MAX);
    CHECK(place(8ull << 30) == 0xbffff000);
    image.put<std::uint32_t>(0x22c, 0x37ffffff);
    CHECK(place(2ull << 30) == 0x37fff000);
}

TEST_CASE("a 32-bit ELF file without Multiboot header is not a Linux") {
    auto const image = test::make_elf({.is_64 = false, .machine = 3});
    test::sparse_memory memory{layout};
    CHECK(reason_of(linux_boot::load_elf(memory, {.image = image, .layout = layout})) ==
          "The ELF file is a 32-bit program without Multiboot header.");
}

TEST_CASE("no cut or changed file makes the loaders read beyond its end") {
    std::mt19937 random{1};
    for (auto const& whole : {test::make_elf({}), test::make_linux_image()}) {
        for (unsigned round{}; round != 4000; ++round) {
            auto part =
                whole.first(round < 2000 ? std::min<std::size_t>(round, whole.content.size()) : whole.content.size());
            for (auto changes = random() % 4; changes != 0 and not part.empty(); --changes)
                part[random() % std::min<std::size_t>(part.size(), 0x290)] = static_cast<std::byte>(random());
            test::sparse_memory memory{layout};
            hv::guest::load_request const request{.image = part, .layout = layout};
            reason_of(linux_boot::load_elf(memory, request));
            reason_of(linux_boot::load_image(memory, request));
        }
    }
}
