// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/devices/device_set.hpp>
#include <hv/devices/hpet.hpp>
#include <hv/devices/hpet_registers.hpp>
#include <hv/devices/ioapic.hpp>
#include <hv/devices/keyboard_controller.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/devices/pic_8259.hpp>
#include <hv/devices/pm_timer.hpp>
#include <hv/devices/rtc_mc146818.hpp>
#include <hv/devices/uart_16550.hpp>
#include <hv/guest/acpi.hpp>
#include <hv/guest/mp_table.hpp>

#include "guest/test_memory.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

constexpr hv::guest::memory_layout layout{16ull << 20};
constexpr unsigned xsdt{0}, fadt{1}, madt{2}, dsdt{3}, facs{4}, hpet{5};

auto sum(test::sparse_memory& memory, std::uint64_t first, std::uint64_t count) -> unsigned {
    unsigned total{};
    for (std::uint64_t i{}; i != count; ++i)
        total += memory.read<std::uint8_t>(first + i);
    return total & 0xff;
}

auto signature(test::sparse_memory& memory, std::uint64_t at) -> std::string {
    std::string result;
    for (std::uint64_t i{}; i != 4; ++i)
        result += static_cast<char>(memory.read<std::uint8_t>(at + i));
    return result;
}

auto length(test::sparse_memory& memory, std::uint64_t at) {
    return memory.read<std::uint32_t>(at + 4);
}

/// What a shell command prints, and its exit status.
struct printed {
    int status;
    std::string text;
};
auto run(std::string const& command) -> printed {
    printed result{-1, {}};
    if (auto* const pipe = ::popen((command + " 2>&1").c_str(), "r")) {
        std::array<char, 512> line{};
        while (std::fgets(line.data(), line.size(), pipe) != nullptr)
            result.text += line.data();
        result.status = ::pclose(pipe);
    }
    return result;
}

struct full {
    using devices = hv::device_set<hv::lapic, hv::ioapic, hv::pic_8259, hv::hpet, hv::pm_timer, hv::rtc_mc146818,
                                   hv::uart_16550<hv::uart_config{.base = 0x2f8, .irq = 3}>,
                                   hv::uart_16550<hv::uart_config{.base = 0x3f8, .irq = 4}>, hv::keyboard_controller>;
    static constexpr unsigned max_vcpus{3};
};

struct empty {
    using devices = hv::device_set<>;
    static constexpr unsigned max_vcpus{1};
};

} // namespace

TEST_CASE("an operating system finds every ACPI table from the root pointer with good checksums") {
    test::sparse_memory memory{layout};
    auto const written = hv::guest::acpi::write(memory, {.processors = 3});
    REQUIRE(written);
    auto const root = written.value.rsdp;
    CHECK(root == 0xe0000);
    CHECK(signature(memory, root) == "RSD ");
    CHECK(memory.read<std::uint8_t>(root + 15) == 2);
    CHECK(memory.read<std::uint32_t>(root + 20) == 36);
    CHECK(sum(memory, root, 20) == 0);
    CHECK(sum(memory, root, 36) == 0);

    auto const list = memory.read<std::uint64_t>(root + 24);
    CHECK(list == written.value.each[xsdt]);
    CHECK(signature(memory, list) == "XSDT");
    CHECK(sum(memory, list, length(memory, list)) == 0);
    std::string found;
    for (std::uint64_t at{list + 36}; at != list + length(memory, list); at += 8) {
        auto const table = memory.read<std::uint64_t>(at);
        CHECK(table < written.value.end);
        CHECK(sum(memory, table, length(memory, table)) == 0);
        found += signature(memory, table) + ' ';
    }
    CHECK(found == "FACP APIC HPET ");
}

TEST_CASE("the fixed description table names the platform's ports") {
    test::sparse_memory memory{layout};
    auto const written = hv::guest::acpi::write(memory, {});
    REQUIRE(written);
    auto const t = written.value.each[fadt];
    CHECK(length(memory, t) == 268);
    CHECK(memory.read<std::uint8_t>(t + 8) == 5);
    CHECK(memory.read<std::uint32_t>(t + 36) == written.value.each[facs]);
    CHECK(memory.read<std::uint32_t>(t + 40) == written.value.each[dsdt]);
    CHECK(memory.read<std::uint16_t>(t + 46) == 9);
    CHECK(memory.read<std::uint32_t>(t + 48) == 0); // no SMI command port: ACPI mode is on
    CHECK(memory.read<std::uint32_t>(t + 56) == 0x600);
    CHECK(memory.read<std::uint32_t>(t + 64) == 0x604);
    CHECK(memory.read<std::uint32_t>(t + 76) == 0x608);
    CHECK(memory.read<std::uint32_t>(t + 88) == 0x04000204); // lengths 4, 2, 0, 4
    CHECK(memory.read<std::uint8_t>(t + 108) == 0x32);
    CHECK(memory.read<std::uint16_t>(t + 109) == 7);
    CHECK(memory.read<std::uint32_t>(t + 112) == 0x575);
    CHECK(memory.read<std::uint32_t>(t + 116) == 0x01000801);
    CHECK(memory.read<std::uint64_t>(t + 120) == 0xcf9);
    CHECK(memory.read<std::uint8_t>(t + 128) == 6);
    CHECK(memory.read<std::uint64_t>(t + 140) == written.value.each[dsdt]);
    CHECK(memory.read<std::uint64_t>(t + 152) == 0x600);
    CHECK(memory.read<std::uint64_t>(t + 176) == 0x604);
    CHECK(memory.read<std::uint64_t>(t + 212) == 0x608);
    auto const control = written.value.each[facs];
    CHECK(control % 64 == 0);
    CHECK(signature(memory, control) == "FACS");
    CHECK(length(memory, control) == 64);
}

TEST_CASE("the interrupt table has every processor and both overrides") {
    test::sparse_memory memory{layout};
    auto const written = hv::guest::acpi::write(memory, {.processors = 4});
    REQUIRE(written);
    auto const t = written.value.each[madt];
    CHECK(memory.read<std::uint32_t>(t + 36) == 0xfee00000);
    CHECK(memory.read<std::uint32_t>(t + 40) == 1);
    for (std::uint32_t i{}; i != 4; ++i)
        CHECK(memory.read<std::uint64_t>(t + 44 + 8 * i) == (0x0000000100000800 | i << 16 | i << 24));
    auto at = t + 44 + 8 * 4;
    CHECK(memory.read<std::uint64_t>(at) == 0xfec0000000000c01);
    CHECK(memory.read<std::uint64_t>(at + 12) == 0x0000000200000a02);
    CHECK(memory.read<std::uint64_t>(at + 22) == 0x0000000909000a02);
    CHECK(memory.read<std::uint16_t>(at + 30) == 0xd);
    CHECK((memory.read<std::uint64_t>(at + 32) & 0xffffffffffff) == 0x010000ff0604);
    CHECK(at + 38 == t + length(memory, t));
}

TEST_CASE("both tables list each processor once, with the APIC id that its topology gives it") {
    for (auto const& shape : {hv::topology{}, hv::topology{.cores = 2}, hv::topology{2, 2, 1}, hv::topology{2, 3, 1},
                              hv::topology{2, 2, 2}, hv::topology{1, 254, 1}, hv::topology{2, 127, 1}}) {
        test::sparse_memory memory{layout};
        auto const count = shape.processors();
        INFO(count << " processors");
        hv::guest::platform const board{.processors = count, .arrangement = shape};
        auto const acpi = hv::guest::acpi::write(memory, board);
        REQUIRE(acpi);
        std::uint32_t listed{}, nmi_entries{};
        auto const first = acpi.value.each[madt];
        for (auto at = first + 44; at < first + length(memory, first); at += memory.read<std::uint8_t>(at + 1)) {
            auto const type = memory.read<std::uint8_t>(at);
            if (type == 0) {
                CHECK(memory.read<std::uint8_t>(at + 2) == listed);
                CHECK(memory.read<std::uint8_t>(at + 3) == shape.apic_id(listed));
                CHECK(memory.read<std::uint32_t>(at + 4) == 1); // enabled; none that could be plugged in later
                ++listed;
            } else if (type == 4) {
                CHECK(memory.read<std::uint8_t>(at + 2) == 0xff); // of all processors
                CHECK(memory.read<std::uint16_t>(at + 3) == 0);
                CHECK(memory.read<std::uint8_t>(at + 5) == 1);
                ++nmi_entries;
            }
        }
        CHECK(listed == count);
        CHECK(nmi_entries == 1);

        auto const pointer = hv::guest::mp::write(memory, board);
        REQUIRE(pointer);
        auto const t = std::uint64_t{memory.read<std::uint32_t>(pointer.value + 4)};
        auto const size = memory.read<std::uint16_t>(t + 4);
        CHECK(sum(memory, t, size) == 0);
        std::uint32_t processors{}, nmis{};
        for (auto at = t + 44; at < t + size; at += memory.read<std::uint8_t>(at) == 0 ? 20 : 8) {
            if (memory.read<std::uint8_t>(at) == 0) {
                CHECK(memory.read<std::uint8_t>(at + 1) == shape.apic_id(processors));
                CHECK(memory.read<std::uint8_t>(at + 3) == (processors == 0 ? 3 : 1));
                ++processors;
            } else if (memory.read<std::uint8_t>(at) == 4 and memory.read<std::uint8_t>(at + 1) == 1) {
                CHECK(memory.read<std::uint8_t>(at + 6) == 0xff);
                CHECK(memory.read<std::uint8_t>(at + 7) == 1);
                ++nmis;
            }
        }
        CHECK(processors == count);
        CHECK(nmis == 1);
    }
}

TEST_CASE("a device that the platform lacks is in no table") {
    test::sparse_memory memory{layout};
    auto const written = hv::guest::acpi::write(memory, {.io_apic = 0,
                                                         .pic_8259 = false,
                                                         .keyboard_controller = false,
                                                         .rtc = false,
                                                         .hpet = 0,
                                                         .pm1_event = 0,
                                                         .pm1_control = 0,
                                                         .pm_timer = 0,
                                                         .reset_port = 0,
                                                         .uart = 0});
    REQUIRE(written);
    CHECK(written.value.each[hpet] == 0);
    CHECK(length(memory, written.value.each[xsdt]) == 36 + 16);
    CHECK(length(memory, written.value.each[madt]) == 44 + 8 + 6);
    CHECK(memory.read<std::uint32_t>(written.value.each[madt] + 40) == 0);
    CHECK(length(memory, written.value.each[dsdt]) == 36 + 6);
    auto const t = written.value.each[fadt];
    CHECK(memory.read<std::uint32_t>(t + 36) == 0);
    CHECK(memory.read<std::uint32_t>(t + 88) == 0);
    CHECK(memory.read<std::uint16_t>(t + 109) == 0x25);
    CHECK(memory.read<std::uint32_t>(t + 112) == 0x75);
}

TEST_CASE("the tables of the largest platform fit, and one more processor is refused") {
    test::sparse_memory memory{layout};
    auto const acpi = hv::guest::acpi::write(memory, {.processors = 255});
    REQUIRE(acpi);
    CHECK(acpi.value.end <= 0xf0000);
    REQUIRE(hv::guest::mp::write(memory, {.processors = 255}));
    CHECK(sum(memory, acpi.value.each[madt], length(memory, acpi.value.each[madt])) == 0);
    for (std::uint32_t const count : {0u, 256u}) {
        CHECK(hv::guest::acpi::write(memory, {.processors = count}).error == hv::status::too_big);
        CHECK(hv::guest::mp::write(memory, {.processors = count}).error == hv::status::too_big);
    }
    memory.refused_page = 0xe0000 + 40;
    CHECK(hv::guest::acpi::write(memory, {}).error == hv::status::bad_address);
    memory.refused_page = 0xf0000;
    CHECK(hv::guest::mp::write(memory, {}).error == hv::status::bad_address);
}

TEST_CASE("the MP table lists processors, the bus, the I/O APIC and where interrupts go") {
    test::sparse_memory memory{layout};
    auto const pointer = hv::guest::mp::write(memory, {.processors = 2});
    REQUIRE(pointer);
    CHECK(pointer.value == 0xf0000);
    CHECK(signature(memory, pointer.value) == "_MP_");
    CHECK(sum(memory, pointer.value, 16) == 0);
    auto const t = std::uint64_t{memory.read<std::uint32_t>(pointer.value + 4)};
    CHECK(signature(memory, t) == "PCMP");
    auto const size = memory.read<std::uint16_t>(t + 4);
    CHECK(sum(memory, t, size) == 0);
    CHECK(memory.read<std::uint32_t>(t + 36) == 0xfee00000);
    unsigned counts[5]{};
    unsigned entries{};
    std::uint64_t at{t + 44};
    for (; at < t + size; ++entries) {
        auto const type = memory.read<std::uint8_t>(at);
        REQUIRE(type < 5);
        ++counts[type];
        if (type == 3)
            CHECK(memory.read<std::uint8_t>(at + 7) ==
                  (memory.read<std::uint8_t>(at + 5) == 0 ? 2 : memory.read<std::uint8_t>(at + 5)));
        at += type == 0 ? 20 : 8;
    }
    CHECK(at == t + size);
    CHECK(entries == memory.read<std::uint16_t>(t + 34));
    CHECK(counts[0] == 2);
    CHECK(counts[1] == 1);
    CHECK(counts[2] == 1);
    CHECK(counts[3] == 15);
    CHECK(counts[4] == 2);
}

TEST_CASE("the tables of a machine name the devices of its set and no others") {
    constexpr auto all = hv::guest::acpi_of<full>();
    constexpr hv::guest::platform defaults{};
    STATIC_REQUIRE(all.processors == 3);
    STATIC_REQUIRE(hv::guest::acpi_of<full>({.cores = 2}).processors == 2);
    STATIC_REQUIRE(all.local_apic == defaults.local_apic);
    STATIC_REQUIRE(all.io_apic == defaults.io_apic);
    STATIC_REQUIRE((all.pic_8259 and all.keyboard_controller and all.rtc));
    STATIC_REQUIRE(all.hpet == defaults.hpet);
    STATIC_REQUIRE(all.pm1_event == hv::pm_timer::event_port);
    STATIC_REQUIRE(all.pm1_control == hv::pm_timer::control_port);
    STATIC_REQUIRE(all.pm_timer == hv::pm_timer::timer_port);
    STATIC_REQUIRE(all.sleep_type_s5 == hv::pm_timer::slp_typ_s5);
    STATIC_REQUIRE(all.reset_port == hv::pm_timer::reset_port);
    STATIC_REQUIRE(all.uart == 0x2f8);
    STATIC_REQUIRE(all.uart_line == 3);
    CHECK(all.hpet_block_id ==
          static_cast<std::uint32_t>(hv::hpet_registers::capabilities(hv::hpet::frequency, hv::hpet::timer_count)));

    constexpr auto none = hv::guest::acpi_of<empty>();
    STATIC_REQUIRE((none.io_apic == 0 and none.hpet == 0 and none.pm1_event == 0 and none.uart == 0));
    STATIC_REQUIRE(not(none.pic_8259 or none.keyboard_controller or none.rtc));

    test::sparse_memory memory{layout};
    CHECK(hv::guest::write_acpi_tables(memory, all) == 0xe0000);
    memory.refused_page = 0xe0000;
    CHECK(hv::guest::write_acpi_tables(memory, all) == 0);
}

TEST_CASE("iasl disassembles every ACPI table and compiles it again without a remark") {
    if (run("command -v iasl").status != 0) {
        WARN("skipped: iasl (Debian package acpica-tools) is not installed");
        return;
    }
    auto const description =
        GENERATE(hv::guest::platform{.processors = 4},
                 hv::guest::platform{.rtc = false, .pm_timer_32_bits = false, .uart = 0x2f8, .uart_line = 3},
                 hv::guest::platform{.io_apic = 0, .rtc = false, .hpet = 0, .uart = 0});
    test::sparse_memory memory{layout};
    auto const written = hv::guest::acpi::write(memory, description);
    REQUIRE(written);
    auto folder = (std::filesystem::temp_directory_path() / "hv_acpi_XXXXXX").string();
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    for (auto const table : written.value.each) {
        if (table == 0)
            continue;
        auto const name = signature(memory, table);
        std::ofstream file{folder + '/' + name + ".aml", std::ios::binary};
        for (std::uint64_t i{}; i != length(memory, table); ++i)
            file.put(static_cast<char>(memory.read<std::uint8_t>(table + i)));
        file.close();
        auto const apart = run("cd " + folder + " && iasl -d " + name + ".aml");
        INFO(apart.text);
        CHECK(apart.status == 0);
        CHECK(apart.text.find("rror") == std::string::npos);
        CHECK(apart.text.find("arning") == std::string::npos);
        std::ifstream source{folder + '/' + name + ".dsl"};
        std::string const text{std::istreambuf_iterator<char>{source}, {}};
        CHECK(text.find("Incorrect") == std::string::npos);
        CHECK(text.find("Invalid") == std::string::npos);
        if (name == "FACS")
            continue;
        auto const again = run("cd " + folder + " && iasl -vw 2089 -p again " + name + ".dsl");
        INFO(text << again.text);
        CHECK(again.status == 0);
        CHECK((again.text.find("0 Errors, 0 Warnings, 0 Remarks") != std::string::npos or
               again.text.find("Table Input") != std::string::npos));
        CHECK(std::filesystem::file_size(folder + "/again.aml") == length(memory, table));
    }
    std::filesystem::remove_all(folder);
}
