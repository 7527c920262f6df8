// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/acpi_fadt.hpp>
#include <hv/guest/aml.hpp>
#include <hv/guest/memory_layout.hpp>
#include <hv/guest/platform.hpp>
#include <hv/guest/platform_of.hpp>
#include <hv/guest/table_writer.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstdint>

/// ACPI tables for a machine. ACPI specification, "ACPI Software Programming Model".
namespace hv::guest::acpi {

namespace detail {

template <guest_memory M>
[[gnu::cold]] constexpr auto write_madt(table_writer<M>& out, platform const& p) -> std::uint64_t {
    begin_table(out, "APIC", 4);
    out.put(p.local_apic);
    out.put(std::uint32_t{p.pic_8259}); // PCAT_COMPAT
    for (std::uint32_t i{}; i != p.processors; ++i) {
        out.put(std::uint16_t{0x0800}); // type 0: processor local APIC
        out.put(static_cast<std::uint8_t>(i));
        out.put(static_cast<std::uint8_t>(p.arrangement.apic_id(i)));
        out.put(std::uint32_t{1}); // enabled
    }
    if (p.io_apic != 0) {
        out.put(std::uint16_t{0x0c01}); // type 1: I/O APIC, its pins are the interrupts from 0 on
        out.put(std::uint16_t{p.io_apic_id});
        out.put(p.io_apic);
        out.put(std::uint32_t{});
        auto const override = [&out](std::uint8_t line, std::uint32_t pin, std::uint16_t flags) {
            out.put(std::uint16_t{0x0a02}); // type 2: interrupt source override, of the ISA bus
            out.put(std::uint8_t{0});
            out.put(line);
            out.put(pin);
            out.put(flags);
        };
        override(0, 2, 0);
        if (p.pm1_event != 0)
            override(p.sci_line, p.sci_line, 0xd); // level, active high
    }
    out.put(std::uint16_t{0x0604}); // type 4: local APIC NMI, of all processors, at LINT1
    out.put(std::uint8_t{0xff});
    out.put(std::uint16_t{});
    out.put(std::uint8_t{1});
    return end_table(out);
}

template <guest_memory M>
constexpr auto write_hpet(table_writer<M>& out, platform const& p) -> std::uint64_t {
    begin_table(out, "HPET", 1);
    out.put(p.hpet_block_id);
    put_address(out, {.space = address_space::memory, .bits = 0, .address = p.hpet});
    out.put(std::uint8_t{});     // the first
    out.put(std::uint16_t{128}); // fewest ticks of a periodic timer
    out.put(std::uint8_t{});
    return end_table(out);
}

template <guest_memory M>
[[gnu::cold]] constexpr auto write_dsdt(table_writer<M>& out, platform const& p) -> std::uint64_t {
    begin_table(out, "DSDT", 2);
    auto const put = [&out](aml::code const& code) {
        for (std::size_t i{}; i != code.size; ++i)
            out.put(code.bytes[i]);
    };
    if (p.pm1_control != 0) {
        aml::code sleep{};
        sleep += aml::integer(p.sleep_type_s5);
        sleep += aml::integer(p.sleep_type_s5);
        sleep += aml::integer(0);
        sleep += aml::integer(0);
        put(aml::name("_S5_", aml::package(4, sleep)));
    }
    aml::code devices{};
    auto const add = [&devices](std::string_view name, std::string_view id, aml::code const& resources) {
        aml::code content{aml::name("_HID", aml::eisa_id(id))};
        content += aml::name("_CRS", resources);
        devices += aml::device(name, content);
    };
    if (p.uart != 0)
        add("COM1", "PNP0501", aml::ports_and_line(p.uart, 8, p.uart_line));
    if (p.rtc)
        add("RTC_", "PNP0B00", aml::ports_and_line(0x70, 2, 8));
    put(aml::scope("_SB_", devices));
    return end_table(out);
}

} // namespace detail

/// Where the tables went.
struct tables {
    std::uint64_t rsdp{};
    std::uint64_t end{};
    std::array<std::uint64_t, 6> each{}; ///< XSDT, FADT, MADT, DSDT, FACS, HPET; 0 for one that is not there
};

/// Writes the tables of a platform to the BIOS area and answers where they are. bad_address if that is not memory,
/// too_big if there are more processors than APIC ids.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto write(M& memory, platform const& p) -> result<tables> {
    if (p.processors == 0 or p.processors > 255)
        return status::too_big;
    table_writer out{memory, memory_layout::acpi_first, memory_layout::mp_first};
    constexpr unsigned rsdp_size{36};
    tables t{.rsdp = out.begin(16)};
    out.zeros(rsdp_size); // for later: it points at the rest
    if (p.pm1_event != 0) {
        t.each[4] = out.begin(64);
        detail::put_facs(out);
    }
    t.each[3] = detail::write_dsdt(out, p);
    t.each[2] = detail::write_madt(out, p);
    t.each[1] = detail::write_fadt(out, p, t.each[3], t.each[4]);
    if (p.hpet != 0)
        t.each[5] = detail::write_hpet(out, p);

    detail::begin_table(out, "XSDT", 1);
    out.put(t.each[1]);
    out.put(t.each[2]);
    if (p.hpet != 0)
        out.put(t.each[5]);
    t.each[0] = detail::end_table(out);
    t.end = out.position();

    table_writer root{memory, t.rsdp, t.rsdp + rsdp_size};
    root.begin(16);
    root.put("RSD PTR ");
    root.put(std::uint8_t{}); // checksum of the first 20 bytes
    root.put(detail::oem);
    root.put(std::uint8_t{2});
    root.put(std::uint32_t{}); // no RSDT
    root.patch_checksum(8);
    root.put(std::uint32_t{rsdp_size});
    root.put(t.each[0]);
    root.zeros(4);
    root.patch_checksum(32);
    if (not out.ok() or not root.ok())
        return status::bad_address;
    return t;
}

} // namespace hv::guest::acpi

namespace hv::guest {

/// Writes the ACPI tables of a platform and answers where their root pointer is; 0 if they could not be written.
template <guest_memory M>
[[nodiscard]] constexpr auto write_acpi_tables(M& memory, platform const& p) -> std::uint64_t {
    auto const written = acpi::write(memory, p);
    return written ? written.value.rsdp : 0;
}

} // namespace hv::guest
