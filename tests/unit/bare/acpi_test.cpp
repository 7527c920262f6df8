// SPDX-License-Identifier: BSD-2-Clause
#include "fake_memory.hpp"

#include <kernel_glue/bare/acpi.hpp>

#include <catch2/catch.hpp>

#include <cstring>
#include <random>

using namespace hv::bare;
using hv::hpa;

namespace {

constexpr std::uint64_t base{0x10000};
constexpr std::uint64_t root_table{base}, fadt{base + 0x1000}, madt{base + 0x2000}, hpet{base + 0x3000};

void put_header(fake_memory& m, std::uint64_t at, char const (&name)[5], std::uint32_t size) {
    for (std::uint64_t i{0}; i != 4; ++i)
        m.put(at + i, name[i]);
    m.put(at + 4, size);
    m.put_checksum(at, size, at + 9);
}

class tables {
  public:
    tables() {
        memory.put(fadt + 76, std::uint32_t{0x608});
        memory.put(fadt + 91, std::uint8_t{4});
        memory.put(fadt + 112, std::uint32_t{1u << 8});
        memory.put(madt + 36, std::uint32_t{0xfee01000});
        memory.put(hpet + 44, std::uint64_t{0xfed00000});
    }
    void entry(std::initializer_list<std::uint8_t> bytes) {
        for (auto const b : bytes)
            memory.put(madt + madt_size++, b);
    }
    auto read(bool wide = true) -> board {
        put_header(memory, fadt, "FACP", fadt_size);
        put_header(memory, madt, "APIC", madt_size);
        put_header(memory, hpet, "HPET", 56);
        unsigned n{0};
        for (auto const table : {fadt, madt, hpet}) {
            if (wide)
                memory.put(root_table + 36 + 8 * n++, table);
            else
                memory.put(root_table + 36 + 4 * n++, static_cast<std::uint32_t>(table));
        }
        put_header(memory, root_table, wide ? "XSDT" : "RSDT", 36 + 3 * (wide ? 8 : 4));
        return read_board(memory, {.table = hpa{root_table}, .wide = wide});
    }

    fake_memory memory{base, 0x4000};
    std::uint32_t fadt_size{244};
    std::uint32_t madt_size{44};
};

} // namespace

TEST_CASE("the tables are found through the XSDT and through the RSDT") {
    for (bool const wide : {true, false}) {
        tables t;
        auto const b = t.read(wide);
        CHECK(b.pm_timer_port == 0x608);
        CHECK(b.pm_timer_is_32_bits_wide);
        CHECK(b.local_apic == hpa{0xfee01000});
        CHECK(b.hpet == hpa{0xfed00000});
        CHECK(b.processor_count == 0);
        CHECK(b.io_apic_count == 0);
    }
}

TEST_CASE("the extended address of the PM timer wins if it is a port") {
    tables t;
    t.memory.put(fadt + 212, std::uint64_t{0xb008});
    SECTION("in I/O space") {
        t.memory.put(fadt + 208, std::uint8_t{1});
        CHECK(t.read().pm_timer_port == 0xb008);
    }
    SECTION("in memory space it is none of ours") {
        CHECK(t.read().pm_timer_port == 0x608);
    }
    SECTION("beyond all ports there is no timer") {
        t.memory.put(fadt + 208, std::uint8_t{1});
        t.memory.put(fadt + 212, std::uint64_t{0x10008});
        CHECK(t.read().pm_timer_port == 0);
    }
    SECTION("of an old table does not exist") {
        t.memory.put(fadt + 208, std::uint8_t{1});
        t.fadt_size = 116;
        CHECK(t.read().pm_timer_port == 0x608);
    }
    SECTION("a timer of no length is none") {
        t.memory.put(fadt + 91, std::uint8_t{0});
        CHECK(t.read().pm_timer_port == 0);
    }
}

TEST_CASE("the MADT lists processors, I/O APICs and how ISA interrupts arrive") {
    tables t;
    t.entry({0, 8, 7, 4, 1, 0, 0, 0});                          // enabled, APIC id 4
    t.entry({0, 8, 1, 1, 0, 0, 0, 0});                          // not
    t.entry({9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}); // x2APIC, enabled
    t.entry({1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0});       // fec00000, 0
    t.entry({1, 12, 8, 0, 0, 0x10, 0xc0, 0xfe, 24, 0, 0, 0});   // fec01000, 24
    t.entry({2, 10, 0, 0, 2, 0, 0, 0, 0, 0});                   // 0 at 2
    t.entry({2, 10, 0, 9, 9, 0, 0, 0, 0x0f, 0});                // 9 low, level
    t.entry({2, 10, 0, 16, 3, 0, 0, 0, 0, 0});                  // no ISA interrupt
    t.entry({0x7f, 6, 1, 2, 3, 4});                             // unheard of
    t.entry({5, 12, 0, 0, 0, 0, 0xe0, 0xfe, 1, 0, 0, 0});       // local APIC at 1fee00000
    auto const b = t.read();
    CHECK(b.processor_count == 2);
    CHECK(b.processors[0] == 4);
    CHECK(b.processors[1] == 256);
    REQUIRE(b.io_apic_count == 2);
    CHECK(b.io_apics[0].address == hpa{0xfec00000});
    CHECK(b.io_apics[1].address == hpa{0xfec01000});
    CHECK(b.io_apics[1].first_interrupt == 24);
    CHECK(b.isa[0].global == 2);
    CHECK_FALSE(b.isa[0].level);
    CHECK(b.isa[9].global == 9);
    CHECK(b.isa[9].level);
    CHECK(b.isa[9].active_low);
    CHECK(b.isa[4].global == 4);
    CHECK(b.local_apic == hpa{0x1fee00000});
}

TEST_CASE("damaged tables are passed over") {
    tables t;
    SECTION("an entry of no length ends the MADT") {
        t.entry({0, 0, 0, 0, 0, 0, 0, 0});
        t.entry({0, 8, 0, 0, 1, 0, 0, 0});
        CHECK(t.read().processor_count == 0);
    }
    SECTION("an entry beyond the end too") {
        t.entry({0, 9, 0, 0, 1, 0, 0, 0});
        CHECK(t.read().processor_count == 0);
    }
    SECTION("more I/O APICs than fit") {
        for (std::uint8_t n{0}; n != 9; ++n)
            t.entry({1, 12, n, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0});
        CHECK(t.read().io_apic_count == 8);
    }
    SECTION("a wrong checksum") {
        (void)t.read();
        t.memory.put(fadt + 100, std::uint8_t{0x77});
        auto const b = read_board(t.memory, {.table = hpa{root_table}, .wide = true});
        CHECK(b.pm_timer_port == 0);
        CHECK(b.hpet == hpa{0xfed00000});
    }
    SECTION("a root that is not there") {
        auto const b = read_board(t.memory, {.table = hpa{0x999000}, .wide = true});
        CHECK(b.local_apic == hpa{0xfee00000});
        CHECK(b.isa[15].global == 15);
    }
    SECTION("no root at all") {
        CHECK(read_board(t.memory, {}).pm_timer_port == 0);
    }
}

TEST_CASE("random tables with good checksums are read without reaching beyond them") {
    std::mt19937 random{2};
    for (int run{0}; run != 500; ++run) {
        tables t;
        for (std::uint64_t i{36}; i != 0x300; ++i) {
            t.memory.put(fadt + i, static_cast<std::uint8_t>(random() % 8));
            t.memory.put(madt + i, static_cast<std::uint8_t>(random() % 16));
        }
        t.fadt_size = static_cast<std::uint32_t>(36 + random() % 240);
        t.madt_size = static_cast<std::uint32_t>(36 + random() % 500);
        auto const b = t.read();
        CHECK(b.io_apic_count <= b.io_apics.size());
    }
}
