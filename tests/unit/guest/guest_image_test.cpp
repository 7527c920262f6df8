// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/guest/image.hpp>

#include "guest/test_memory.hpp"

using hv::guest::image_kind;
using hv::x86::gpr;
using hv::x86::segment_name;

namespace {

constexpr hv::guest::memory_layout layout{64ull << 20};

auto boot_sector() -> test::bytes {
    test::bytes f;
    f.put<std::uint32_t>(0, 0xfeebf4fa);
    f.put<std::uint16_t>(510, 0xaa55);
    return f;
}

auto multiboot_kernel() -> test::bytes {
    auto f = test::make_elf(
        {.is_64 = false, .entry = 0x100000, .virtual_address = 0x100000, .physical_address = 0x100000, .machine = 3});
    f.put<std::uint32_t>(0x200, 0x1badb002);
    f.put<std::uint32_t>(0x208, 0u - 0x1badb002u);
    return f;
}

} // namespace

TEST_CASE("the kind of a file is found by what is in it") {
    CHECK(hv::guest::detect(test::make_elf({})) == image_kind::linux_elf);
    CHECK(hv::guest::detect(test::make_linux_image()) == image_kind::linux_image);
    CHECK(hv::guest::detect(multiboot_kernel()) == image_kind::multiboot);
    CHECK(hv::guest::detect(boot_sector()) == image_kind::flat);
    CHECK(hv::guest::detect({}) == image_kind::unknown);
    CHECK(hv::guest::detect(boot_sector().first(511)) == image_kind::unknown);
}

TEST_CASE("load takes every kind of file to its own way of starting") {
    struct expectation {
        test::bytes file;
        hv::guest::start_mode mode;
        std::uint64_t rip;
    };
    for (auto const& e : {expectation{test::make_elf({}), hv::guest::start_mode::long64, 0x1000000},
                          expectation{test::make_linux_image(), hv::guest::start_mode::long64, 0x1000200},
                          expectation{multiboot_kernel(), hv::guest::start_mode::protected32, 0x100000},
                          expectation{boot_sector(), hv::guest::start_mode::real, 0x7c00}}) {
        test::sparse_memory memory{layout};
        auto const answer = hv::guest::load(memory, {.image = e.file, .layout = layout});
        REQUIRE(answer);
        CHECK(answer.start.mode == e.mode);
        CHECK(answer.start.rip == e.rip);
    }
}

TEST_CASE("what nobody can start is refused with a sentence") {
    test::sparse_memory memory{layout};
    CHECK(hv::guest::load(memory, {.layout = layout}).reason == "The image is empty.");
    std::vector<std::byte> const text(4096, std::byte{'x'});
    CHECK(hv::guest::load(memory, {.image = text, .layout = layout}).reason ==
          "The image is neither a Linux kernel, nor a Multiboot kernel, nor a boot sector.");
    auto const elf32 = test::make_elf({.is_64 = false, .machine = 3});
    CHECK(hv::guest::load(memory, {.image = elf32, .layout = layout}).reason ==
          "The ELF file is a 32-bit program without Multiboot header.");
    CHECK(hv::guest::load(memory, {.image = text, .kind = image_kind::multiboot, .layout = layout}).reason ==
          "The file has no Multiboot header in its first 8 KiB.");
    CHECK(memory.touched() == 0);
}

TEST_CASE("a flat image starts in real mode like a boot sector") {
    auto const file = boot_sector();
    test::sparse_memory memory{layout};
    auto const answer = hv::guest::load(memory, {.image = file, .layout = layout});
    REQUIRE(answer);
    auto const& start = answer.start;
    CHECK(start.rip == 0x7c00);
    CHECK((start.cr0 & 1) == 0);
    CHECK(start.reg(gpr::rdx) == 0x80);
    CHECK(start.reg(gpr::rsp) == 0x7c00);
    CHECK(start.segment(segment_name::cs) == hv::x86::segment{.limit = 0xffff, .access = 0x9b});
    CHECK(start.segment(segment_name::ss) == hv::x86::segment{.limit = 0xffff, .access = 0x93});
    CHECK(start.segment(segment_name::tr).access == 0x8b);
    CHECK(start.idtr == hv::x86::descriptor_table{.base = 0, .limit = 0x3ff});
    CHECK(memory.read<std::uint32_t>(0x7c00) == 0xfeebf4fa);
    // Every vector leads to an IRET.
    for (std::uint64_t vector{}; vector != 256; ++vector) {
        auto const far = memory.read<std::uint32_t>(vector * 4);
        REQUIRE(memory.read<std::uint8_t>(std::uint64_t{far >> 16} * 16 + (far & 0xffff)) == 0xcf);
    }
}

TEST_CASE("a flat image goes where it is asked to, if it fits") {
    auto const file = boot_sector();
    test::sparse_memory memory{layout};
    auto const at = [&](std::uint16_t address) {
        return hv::guest::load(memory, {.image = file, .layout = layout, .flat_address = address, .flat_drive = 1});
    };
    auto const answer = at(0x8001);
    REQUIRE(answer);
    CHECK(answer.start.rip == 0x8001);
    CHECK(answer.start.reg(gpr::rsp) == 0x8000);
    CHECK(answer.start.reg(gpr::rdx) == 1);
    CHECK(at(0x5ff).reason == "The load address lies in the interrupt vectors or BIOS data.");
    std::vector<std::byte> const large(0xa0000 - 0x7c00), larger(0xa0000 - 0x7c00 + 1);
    CHECK(hv::guest::load(memory, {.image = large, .kind = image_kind::flat, .layout = layout}));
    CHECK(hv::guest::load(memory, {.image = larger, .kind = image_kind::flat, .layout = layout}).reason ==
          "The image does not fit below 640 KiB.");
    CHECK(hv::guest::load(memory, {.image = file, .layout = {0x80000}}).reason ==
          "A real-mode guest needs 1 MiB of memory.");
}
