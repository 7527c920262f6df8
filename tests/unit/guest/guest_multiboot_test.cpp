// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/guest/multiboot.hpp>

#include "guest/test_memory.hpp"

#include <random>

namespace multiboot = hv::guest::multiboot;
using hv::x86::gpr;
using hv::x86::segment_name;

namespace {

constexpr hv::guest::memory_layout layout{64ull << 20};

void put_header(test::bytes& file, std::size_t offset, std::uint32_t flags) {
    file.put<std::uint32_t>(offset, 0x1badb002);
    file.put<std::uint32_t>(offset + 4, flags);
    file.put<std::uint32_t>(offset + 8, 0u - (0x1badb002u + flags));
}

/// An ELF32 kernel at 1 MiB with a header that asks for nothing.
auto make_kernel(std::uint32_t flags = 0) -> test::bytes {
    auto file = test::make_elf(
        {.is_64 = false, .entry = 0x100020, .virtual_address = 0x100000, .physical_address = 0x100000, .machine = 3});
    put_header(file, 0x200, flags);
    return file;
}

struct addresses {
    std::uint32_t header{0x100000}, load{0x100000}, load_end{0x100100}, bss_end{0x102000}, entry{0x100040};
};

/// A file that is not ELF, loaded by the addresses in its header, which is 16 bytes into it.
auto make_raw(addresses const& a) -> test::bytes {
    test::bytes file;
    for (std::size_t i{}; i != 0x110; ++i)
        file.put<std::uint8_t>(i, i);
    put_header(file, 0x10, 0x10003);
    file.put<std::uint32_t>(0x10 + 12, a.header);
    file.put<std::uint32_t>(0x10 + 16, a.load);
    file.put<std::uint32_t>(0x10 + 20, a.load_end);
    file.put<std::uint32_t>(0x10 + 24, a.bss_end);
    file.put<std::uint32_t>(0x10 + 28, a.entry);
    return file;
}

auto reason_for(hv::guest::file file, hv::guest::memory_layout where = layout) -> std::string {
    test::sparse_memory memory{where};
    auto const answer = multiboot::load(memory, {.image = file, .layout = where});
    CHECK(static_cast<bool>(answer) == answer.reason.empty());
    return std::string{answer.reason};
}

} // namespace

TEST_CASE("a Multiboot kernel starts in flat protected mode and finds its information") {
    auto const file = make_kernel(GENERATE(0u, 1u, 3u, 7u));
    std::vector<std::byte> const first(0x1001, std::byte{0x11}), second(0x10, std::byte{0x22});
    hv::guest::boot_module const modules[]{{first, "first module"}, {second, ""}};
    test::sparse_memory memory{layout};
    auto const answer = multiboot::load(
        memory, {.image = file, .name = "kernel", .command_line = "-v all", .modules = modules, .layout = layout});
    REQUIRE(answer);
    auto const& start = answer.start;
    CHECK(start.mode == hv::guest::start_mode::protected32);
    CHECK(start.rip == 0x100020);
    CHECK(start.cr0 == 0x11);
    CHECK(start.cr4 == 0);
    CHECK(start.efer == 0);
    CHECK(start.rflags == 2);
    CHECK(start.reg(gpr::rax) == 0x2badb002);
    CHECK(start.segment(segment_name::cs) == hv::x86::segment{.limit = 0xffffffff, .access = 0xc09b, .selector = 0x10});
    CHECK(start.segment(segment_name::ss) == hv::x86::segment{.limit = 0xffffffff, .access = 0xc093, .selector = 0x18});
    CHECK(memory.read<std::uint64_t>(start.gdtr.base + 0x10) == 0x00cf9b000000ffff);

    auto const info = start.reg(gpr::rbx);
    auto const field = [&](unsigned offset) { return memory.read<std::uint32_t>(info + offset); };
    CHECK(field(0) == 0x24d);
    CHECK(field(4) == 640);
    CHECK(field(8) == 63 * 1024);
    CHECK(memory.text(field(16)) == "kernel -v all");
    CHECK(memory.text(field(64)) == "hv");
    REQUIRE(field(20) == 2);
    auto const module = [&](unsigned i, unsigned offset) {
        return memory.read<std::uint32_t>(field(24) + i * 16 + offset);
    };
    CHECK(module(0, 0) % hv::page_size == 0);
    CHECK(module(0, 0) >= 0x103000); // behind the bss
    CHECK(module(0, 4) - module(0, 0) == 0x1001);
    CHECK(memory.text(module(0, 8)) == "first module");
    CHECK(memory.read<std::uint8_t>(module(0, 4) - 1) == 0x11);
    CHECK(module(1, 0) % hv::page_size == 0);
    CHECK(module(1, 0) >= module(0, 4));
    CHECK(memory.text(module(1, 8)).empty());
    CHECK(memory.read<std::uint8_t>(module(1, 0)) == 0x22);

    REQUIRE(field(44) == 3 * 24);
    auto const map = std::uint64_t{field(48)};
    CHECK(memory.read<std::uint32_t>(map) == 20);
    CHECK(memory.read<std::uint64_t>(map + 4) == 0);
    CHECK(memory.read<std::uint64_t>(map + 12) == 0xa0000);
    CHECK(memory.read<std::uint32_t>(map + 20) == 1);
    CHECK(memory.read<std::uint64_t>(map + 48 + 4) == 0x100000);
    CHECK(memory.read<std::uint64_t>(map + 48 + 12) == 63ull << 20);
    // Everything that the kernel is told about lies behind it.
    for (auto const pointer : {info, start.gdtr.base, std::uint64_t{field(16)}, map, std::uint64_t{field(24)}}) {
        CHECK(pointer >= 0x103000);
        CHECK(pointer < module(0, 0));
    }
}

TEST_CASE("a kernel without arguments and modules still has a command line") {
    auto const file = make_kernel();
    test::sparse_memory memory{layout};
    auto const answer = multiboot::load(memory, {.image = file, .name = "kernel", .layout = layout});
    REQUIRE(answer);
    auto const info = answer.start.reg(gpr::rbx);
    CHECK(memory.text(memory.read<std::uint32_t>(info + 16)) == "kernel ");
    CHECK(memory.read<std::uint32_t>(info + 20) == 0);
}

TEST_CASE("a file with addresses in its header loads by them, whatever its format") {
    test::sparse_memory memory{layout};
    for (std::uint64_t a{0x100000}; a != 0x102000; ++a)
        *memory.at(hv::gpa{a}, hv::access::write) = std::byte{0xcc};
    auto const file = make_raw({});
    auto const answer = multiboot::load(memory, {.image = file, .layout = layout});
    REQUIRE(answer);
    CHECK(answer.start.rip == 0x100040);
    CHECK(memory.read<std::uint32_t>(0x100000) == 0x1badb002); // the file's first 16 bytes lie before the load address
    CHECK(memory.read<std::uint8_t>(0x1000ff) == 0x0f);
    CHECK(memory.read<std::uint8_t>(0x100100) == 0);
    CHECK(memory.read<std::uint8_t>(0x101fff) == 0);

    auto const whole = make_raw({.load_end = 0, .bss_end = 0});
    auto const simple = multiboot::load(memory, {.image = whole, .layout = layout});
    REQUIRE(simple);
    CHECK(simple.start.reg(gpr::rbx) >= 0x101000);
    CHECK(simple.start.reg(gpr::rbx) < 0x102000);
}

TEST_CASE("addresses in a header that do not fit the file or the memory are refused") {
    CHECK(reason_for(make_raw({.load = 0x100001})) == "The load address of the Multiboot header lies before the file.");
    CHECK(reason_for(make_raw({.load = 0xfffe0})) == "The load address of the Multiboot header lies before the file.");
    CHECK(reason_for(make_raw({.load_end = 0x100101})) ==
          "The load end address of the Multiboot header lies beyond the file.");
    CHECK(reason_for(make_raw({.load_end = 1})) ==
          "The load end address of the Multiboot header lies beyond the file.");
    CHECK(reason_for(make_raw({.bss_end = 0x1000ff})) == "The bss of the Multiboot header ends before its data.");
    CHECK(reason_for(make_raw({.bss_end = 0x4000001})) == "The kernel lies beyond the guest's memory.");
    CHECK(reason_for(make_raw({.entry = 0x102000})) ==
          "The entry address of the Multiboot header lies outside the kernel.");
    CHECK(reason_for(make_raw({.header = 0xffffffff, .load = 0xffffffff, .load_end = 0, .bss_end = 0})) ==
          "The kernel lies beyond the guest's memory.");
    auto cut = make_raw({});
    cut.content.resize(0x10 + 31);
    CHECK(reason_for(cut) == "The file ends inside its Multiboot header.");
}

TEST_CASE("a header counts only where the specification wants it") {
    CHECK(multiboot::find_header(make_kernel()).offset == 0x200);
    test::bytes far;
    put_header(far, 8192 - 12, 0);
    CHECK(multiboot::find_header(far).found);
    test::bytes too_far;
    put_header(too_far, 8192 - 8, 0);
    CHECK(not multiboot::find_header(too_far).found);
    test::bytes odd;
    put_header(odd, 0x102, 0);
    CHECK(not multiboot::find_header(odd).found);
    auto wrong = make_kernel();
    wrong.put<std::uint32_t>(0x208, 0);
    CHECK(reason_for(wrong) == "The file has no Multiboot header in its first 8 KiB.");
    CHECK(reason_for(make_kernel(8)) == "The Multiboot header requires something that Multiboot 1 does not define.");
    CHECK(reason_for(make_kernel(0xfff80000u & ~0x10000u)).empty());
}

TEST_CASE("modules that do not fit are refused") {
    auto const file = make_kernel();
    std::vector<std::byte> const huge(62u << 20), large(61u << 20);
    test::sparse_memory memory{layout};
    hv::guest::boot_module const one[]{{large, ""}}, two[]{{large, ""}, {huge, ""}};
    CHECK(multiboot::load(memory, {.image = file, .modules = one, .layout = layout}));
    CHECK(multiboot::load(memory, {.image = file, .modules = two, .layout = layout}).reason ==
          "The modules do not fit between the kernel and the end of memory.");
    constexpr hv::guest::memory_layout tight{0x103000};
    CHECK(reason_for(file, tight) == "The modules do not fit between the kernel and the end of memory.");
}

TEST_CASE("no cut or changed file makes the Multiboot loader read beyond its end") {
    std::mt19937 random{2};
    for (auto const& whole : {make_kernel(), make_raw({})})
        for (unsigned round{}; round != 3000; ++round) {
            auto part =
                whole.first(round < 1500 ? std::min<std::size_t>(round, whole.content.size()) : whole.content.size());
            for (auto changes = random() % 4; changes != 0 and part.size() > 0x30; --changes) {
                auto const at = 0x1c + random() % std::min<std::size_t>(part.size() - 0x1c, 0x50);
                part[at] = static_cast<std::byte>(random());
            }
            reason_for(part);
        }
}
