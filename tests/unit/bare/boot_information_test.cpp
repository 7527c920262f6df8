// SPDX-License-Identifier: BSD-2-Clause
#include "fake_memory.hpp"

#include <kernel_glue/bare/multiboot1.hpp>
#include <kernel_glue/bare/multiboot2.hpp>
#include <kernel_glue/bare/pvh.hpp>
#include <kernel_glue/bare/rsdp.hpp>

#include <catch2/catch.hpp>

#include <random>

using namespace hv::bare;
using hv::hpa;

namespace {

constexpr std::uint64_t base{0x10000};

void put_rsdp(fake_memory& m, std::uint64_t at, std::uint8_t revision, std::uint32_t rsdt, std::uint64_t xsdt) {
    m.put(at, std::uint64_t{0x2052545020445352});
    m.put(at + 15, revision);
    m.put(at + 16, rsdt);
    m.put_checksum(at, 20, at + 8);
    if (revision >= 2) {
        m.put(at + 20, std::uint32_t{36});
        m.put(at + 24, xsdt);
        m.put_checksum(at, 36, at + 32);
    }
}

/// Puts Multiboot 2 tags one after the other.
class tags {
  public:
    tags(fake_memory& m, std::uint64_t at) : memory_{m}, start_{at}, next_{at + 8} {}

    auto begin(std::uint32_t type, std::uint32_t size) -> std::uint64_t {
        auto const at = next_;
        memory_.put(at, type);
        memory_.put(at + 4, size);
        next_ += (size + 7u) & ~7u;
        memory_.put(start_, static_cast<std::uint32_t>(next_ - start_));
        return at + 8;
    }

  private:
    fake_memory& memory_;
    std::uint64_t start_;
    std::uint64_t next_;
};

auto same(memory_extent const& e, std::uint64_t start, std::uint64_t size, memory_kind kind) -> bool {
    return e.start == hpa{start} and e.size == size and e.kind == kind;
}

} // namespace

TEST_CASE("a Multiboot 1 structure gives command line, modules and memory") {
    fake_memory m{base, 0x2000};
    m.put(base, std::uint32_t{1u << 2 | 1u << 3 | 1u << 6 | 1u << 9});
    m.put(base + 16, std::uint32_t{base + 0x100});
    m.put_text(base + 0x100, "/path/image  one two");
    m.put(base + 20, std::uint32_t{2});
    m.put(base + 24, std::uint32_t{base + 0x200});
    m.put(base + 0x200, std::uint32_t{0x400000});
    m.put(base + 0x204, std::uint32_t{0x400800});
    m.put(base + 0x208, std::uint32_t{base + 0x300});
    m.put_text(base + 0x300, "first module");
    m.put(base + 0x210, std::uint32_t{0x500000});
    m.put(base + 0x214, std::uint32_t{0x500001});
    m.put(base + 44, std::uint32_t{24 + 28});
    m.put(base + 48, std::uint32_t{base + 0x400});
    m.put(base + 0x400, std::uint32_t{20});
    m.put(base + 0x404, std::uint64_t{0});
    m.put(base + 0x40c, std::uint64_t{0x9fc00});
    m.put(base + 0x414, std::uint32_t{1});
    m.put(base + 0x418, std::uint32_t{24}); // a longer entry, as E820 with attributes
    m.put(base + 0x41c, std::uint64_t{0x100000000});
    m.put(base + 0x424, std::uint64_t{0x40000000});
    m.put(base + 0x42c, std::uint32_t{3});
    m.put(base + 64, std::uint32_t{base + 0x500});

    SECTION("by QEMU, whose command line begins with the image") {
        m.put_text(base + 0x500, "qemu");
        boot_information boot;
        multiboot1::read(boot, m, hpa{base});
        CHECK(boot.protocol == boot_protocol::multiboot1);
        CHECK(boot.loader == "qemu");
        CHECK(boot.command_line == "one two");
        REQUIRE(boot.modules().size() == 2);
        CHECK(boot.modules()[0].start == hpa{0x400000});
        CHECK(boot.modules()[0].size == 0x800);
        CHECK(boot.modules()[0].string == "first module");
        CHECK(boot.modules()[1].size == 1);
        CHECK(boot.modules()[1].string.empty());
        REQUIRE(boot.memory().size() == 2);
        CHECK(same(boot.memory()[0], 0, 0x9fc00, memory_kind::usable));
        CHECK(same(boot.memory()[1], 0x100000000, 0x40000000, memory_kind::acpi_reclaimable));
        CHECK_FALSE(boot.truncated);
    }
    SECTION("by GRUB 2, whose command line does not") {
        m.put_text(base + 0x500, "GRUB 2.06");
        boot_information boot;
        multiboot1::read(boot, m, hpa{base});
        CHECK(boot.command_line == "/path/image  one two");
    }
}

TEST_CASE("a command line of one word has no arguments") {
    CHECK(multiboot1::without_first_word("image").empty());
    CHECK(multiboot1::without_first_word("image  ").empty());
    CHECK(multiboot1::without_first_word("").empty());
    CHECK(multiboot1::without_first_word("image a b ") == "a b ");
}

TEST_CASE("a Multiboot 1 loader without a memory map gives two sizes") {
    fake_memory m{base, 0x100};
    m.put(base, std::uint32_t{1});
    m.put(base + 4, std::uint32_t{640});
    m.put(base + 8, std::uint32_t{1024});
    boot_information boot;
    multiboot1::read(boot, m, hpa{base});
    REQUIRE(boot.memory().size() == 2);
    CHECK(same(boot.memory()[0], 0, 640 * 1024, memory_kind::usable));
    CHECK(same(boot.memory()[1], 0x100000, 1024 * 1024, memory_kind::usable));
}

TEST_CASE("damaged Multiboot 1 structures end") {
    fake_memory m{base, 0x1000};
    m.put(base, ~std::uint32_t{0});
    SECTION("a map entry of size zero") {
        m.put(base + 44, ~std::uint32_t{0});
        m.put(base + 48, std::uint32_t{base + 0x400});
        boot_information boot;
        multiboot1::read(boot, m, hpa{base});
        CHECK(boot.memory().empty());
    }
    SECTION("four billion modules in unreadable memory") {
        m.put(base + 20, ~std::uint32_t{0});
        m.put(base + 24, ~std::uint32_t{0});
        boot_information boot;
        multiboot1::read(boot, m, hpa{base});
        CHECK(boot.modules().empty());
    }
    SECTION("more modules than fit") {
        m.put(base + 20, std::uint32_t{17});
        m.put(base + 24, std::uint32_t{base + 0x200});
        for (std::uint64_t n{0}; n != 17; ++n) {
            m.put(base + 0x200 + n * 16, std::uint32_t{0x400000});
            m.put(base + 0x204 + n * 16, std::uint32_t{0x400001});
        }
        boot_information boot;
        multiboot1::read(boot, m, hpa{base});
        CHECK(boot.modules().size() == 16);
        CHECK(boot.truncated);
    }
    SECTION("a module that ends before it starts") {
        m.put(base + 20, std::uint32_t{1});
        m.put(base + 24, std::uint32_t{base + 0x200});
        m.put(base + 0x200, std::uint32_t{0x400001});
        m.put(base + 0x204, std::uint32_t{0x400000});
        boot_information boot;
        multiboot1::read(boot, m, hpa{base});
        CHECK(boot.modules().empty());
    }
    SECTION("a text without an end") {
        fake_memory text{base, 0x200};
        text.put(base, std::uint32_t{1u << 2});
        text.put(base + 16, std::uint32_t{base + 0x180});
        for (std::uint64_t i{0x180}; i != 0x200; ++i)
            text.put(base + i, 'a');
        boot_information boot;
        multiboot1::read(boot, text, hpa{base});
        CHECK(boot.command_line.empty()); // one word: the image's name
    }
}

TEST_CASE("Multiboot 2 tags give command line, modules, memory and the ACPI root") {
    fake_memory m{base, 0x2000};
    tags t{m, base};
    m.put_text(t.begin(1, 8 + 8), "one two");
    m.put_text(t.begin(2, 8 + 5), "GRUB");
    auto const module = t.begin(3, 16 + 6);
    m.put(module, std::uint32_t{0x600000});
    m.put(module + 4, std::uint32_t{0x600123});
    m.put_text(module + 8, "hello");
    auto const map = t.begin(6, 16 + 2 * 24);
    m.put(map, std::uint32_t{24});
    m.put(map + 8, std::uint64_t{0x100000});
    m.put(map + 16, std::uint64_t{0x700000});
    m.put(map + 24, std::uint32_t{1});
    m.put(map + 32, std::uint64_t{0x800000});
    m.put(map + 40, std::uint64_t{0x1000});
    m.put(map + 48, std::uint32_t{4});

    SECTION("from a BIOS") {
        put_rsdp(m, t.begin(14, 8 + 20), 0, 0x7fe0000, 0);
        (void)t.begin(0, 8);
        boot_information boot;
        multiboot2::read(boot, m, hpa{base});
        CHECK(boot.protocol == boot_protocol::multiboot2);
        CHECK(boot.command_line == "one two");
        CHECK(boot.loader == "GRUB");
        REQUIRE(boot.modules().size() == 1);
        CHECK(boot.modules()[0].start == hpa{0x600000});
        CHECK(boot.modules()[0].size == 0x123);
        CHECK(boot.modules()[0].string == "hello");
        REQUIRE(boot.memory().size() == 2);
        CHECK(same(boot.memory()[0], 0x100000, 0x700000, memory_kind::usable));
        CHECK(same(boot.memory()[1], 0x800000, 0x1000, memory_kind::acpi_storage));
        CHECK(boot.acpi.table == hpa{0x7fe0000});
        CHECK_FALSE(boot.acpi.wide);
    }
    SECTION("from UEFI, whose own memory map wins, in either order of the tags") {
        constexpr std::uint32_t stride{48};
        auto const efi = t.begin(17, 16 + 5 * stride);
        m.put(efi, stride);
        auto const descriptor = [&](unsigned n, std::uint32_t type, std::uint64_t start, std::uint64_t pages,
                                    std::uint64_t attributes) {
            m.put(efi + 8 + n * stride, type);
            m.put(efi + 8 + n * stride + 8, start);
            m.put(efi + 8 + n * stride + 24, pages);
            m.put(efi + 8 + n * stride + 32, attributes);
        };
        descriptor(0, 7, 0x100000, 0x100, 0xf);
        descriptor(1, 4, 0x200000, 0x10, 0xf);
        descriptor(2, 6, 0x300000, 1, 0x800000000000000f);
        descriptor(3, 9, 0x301000, 2, 0xf);
        descriptor(4, 7, 0x400000, ~std::uint64_t{0}, 0xf); // wraps
        put_rsdp(m, t.begin(14, 8 + 20), 0, 0x7fe0000, 0);
        put_rsdp(m, t.begin(15, 8 + 36), 2, 0x7fe0000, 0x17fe0000);
        auto const second_map = t.begin(6, 16 + 24);
        m.put(second_map, std::uint32_t{24});
        m.put(second_map + 16, std::uint64_t{0x700000});
        (void)t.begin(0, 8);
        boot_information boot;
        multiboot2::read(boot, m, hpa{base});
        REQUIRE(boot.memory().size() == 4);
        CHECK(same(boot.memory()[0], 0x100000, 0x100000, memory_kind::usable));
        CHECK(same(boot.memory()[1], 0x200000, 0x10000, memory_kind::usable));
        CHECK(same(boot.memory()[2], 0x300000, 0x1000, memory_kind::reserved));
        CHECK(same(boot.memory()[3], 0x301000, 0x2000, memory_kind::acpi_reclaimable));
        CHECK(boot.acpi.table == hpa{0x17fe0000});
        CHECK(boot.acpi.wide);
    }
    SECTION("with a tag of no size, which ends them") {
        auto const last = t.begin(1, 8);
        m.put(last - 4, std::uint32_t{0});
        m.put_text(t.begin(1, 8 + 4), "new");
        boot_information boot;
        multiboot2::read(boot, m, hpa{base});
        CHECK(boot.command_line == "one two");
    }
}

TEST_CASE("memory that is not write-back is not for use") {
    CHECK(multiboot2::kind_of_efi(7, 8) == memory_kind::usable);
    CHECK(multiboot2::kind_of_efi(7, 7) == memory_kind::reserved);
    CHECK(multiboot2::kind_of_efi(8, 8) == memory_kind::unusable);
    CHECK(multiboot2::kind_of_efi(14, 8) == memory_kind::reserved);
}

TEST_CASE("a PVH start information gives command line, modules, memory and the ACPI root") {
    fake_memory m{base, 0x2000};
    m.put(base, std::uint32_t{0x336ec578});
    m.put(base + 4, std::uint32_t{1});
    m.put(base + 12, std::uint32_t{1});
    m.put(base + 16, std::uint64_t{base + 0x100});
    m.put(base + 24, std::uint64_t{base + 0x200});
    m.put(base + 32, std::uint64_t{base + 0x300});
    m.put(base + 40, std::uint64_t{base + 0x400});
    m.put(base + 48, std::uint32_t{2});
    m.put(base + 0x100, std::uint64_t{0x700000});
    m.put(base + 0x108, std::uint64_t{0x321});
    m.put(base + 0x110, std::uint64_t{base + 0x280});
    m.put_text(base + 0x200, "one two");
    m.put_text(base + 0x280, "module");
    put_rsdp(m, base + 0x300, 2, 0x7fe0000, 0x7ff0000);
    m.put(base + 0x400, std::uint64_t{0x1000});
    m.put(base + 0x408, std::uint64_t{0x2000});
    m.put(base + 0x410, std::uint32_t{1});
    m.put(base + 0x418, std::uint64_t{0x5000});
    m.put(base + 0x420, std::uint64_t{0x1000});
    m.put(base + 0x428, std::uint32_t{5});

    SECTION("of version 1") {
        boot_information boot;
        pvh::read(boot, m, hpa{base});
        CHECK(boot.protocol == boot_protocol::pvh);
        CHECK(boot.command_line == "one two");
        REQUIRE(boot.modules().size() == 1);
        CHECK(boot.modules()[0].start == hpa{0x700000});
        CHECK(boot.modules()[0].size == 0x321);
        CHECK(boot.modules()[0].string == "module");
        REQUIRE(boot.memory().size() == 2);
        CHECK(same(boot.memory()[0], 0x1000, 0x2000, memory_kind::usable));
        CHECK(same(boot.memory()[1], 0x5000, 0x1000, memory_kind::unusable));
        CHECK(boot.acpi.table == hpa{0x7ff0000});
    }
    SECTION("of version 0, without memory") {
        m.put(base + 4, std::uint32_t{0});
        boot_information boot;
        pvh::read(boot, m, hpa{base});
        CHECK(boot.memory().empty());
        CHECK(boot.modules().size() == 1);
    }
    SECTION("but not with another magic") {
        m.put(base, std::uint32_t{0x336ec579});
        boot_information boot;
        pvh::read(boot, m, hpa{base});
        CHECK(boot.protocol == boot_protocol::unknown);
    }
}

TEST_CASE("an RSDP counts only with its checksums") {
    fake_memory m{base, 0x1000};
    put_rsdp(m, base, 2, 0x7fe0000, 0x7ff0000);
    CHECK(read_rsdp(m, hpa{base}).wide);
    SECTION("without the extended one it is the old root") {
        m.put(base + 33, std::uint8_t{1});
        CHECK_FALSE(read_rsdp(m, hpa{base}).wide);
        CHECK(read_rsdp(m, hpa{base}).table == hpa{0x7fe0000});
    }
    SECTION("without the first one it is none") {
        m.put(base + 9, std::uint8_t{1});
        CHECK_FALSE(read_rsdp(m, hpa{base}));
    }
    SECTION("cut off it is none") {
        CHECK_FALSE(read_rsdp(m, hpa{base + 0xff0}));
    }
}

TEST_CASE("a BIOS has its RSDP in the extended data area or below 1 MiB") {
    fake_memory m{0, 0x100000};
    SECTION("extended data area") {
        m.put(0x40e, std::uint16_t{0x9fc0});
        put_rsdp(m, 0x9fc10, 0, 0x1234000, 0);
        CHECK(find_rsdp(m).table == hpa{0x1234000});
    }
    SECTION("at the very end") {
        put_rsdp(m, 0xfffe0, 0, 0x1234000, 0);
        CHECK(find_rsdp(m).table == hpa{0x1234000});
    }
    SECTION("between the boundaries of 16 bytes it is none") {
        put_rsdp(m, 0xf0008, 0, 0x1234000, 0);
        CHECK_FALSE(find_rsdp(m));
    }
    SECTION("nowhere") {
        CHECK_FALSE(find_rsdp(m));
    }
}

TEST_CASE("texts beyond the room are cut off and said to be") {
    boot_information boot;
    std::string const long_text(5000, 'x');
    CHECK(boot.keep(long_text).size() == 5000);
    CHECK_FALSE(boot.truncated);
    CHECK(boot.keep(long_text).size() == 8192 - 5000);
    CHECK(boot.truncated);
    CHECK(boot.keep("more").empty());
}

TEST_CASE("noise is read without reaching beyond it") {
    std::mt19937 random{1};
    for (int run{0}; run != 300; ++run) {
        fake_memory m{base, 0x400};
        for (std::uint64_t i{0}; i != 0x400; i += 4) {
            // Small numbers and addresses within make deeper structures likely.
            auto const r = random();
            m.put(base + i, static_cast<std::uint32_t>(r % 4 == 0   ? base + r / 8 % 0x400
                                                       : r % 4 == 1 ? r / 4 % 64
                                                                    : r));
        }
        boot_information one;
        multiboot1::read(one, m, hpa{base});
        boot_information two;
        multiboot2::read(two, m, hpa{base});
        m.put(base, pvh::magic);
        boot_information three;
        pvh::read(three, m, hpa{base});
        for (auto const* boot : {&one, &two, &three})
            for (auto const& e : boot->memory())
                CHECK(e.end().value >= e.start.value);
    }
}
