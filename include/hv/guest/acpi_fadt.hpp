// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/platform.hpp>
#include <hv/guest/table_writer.hpp>

#include <cstdint>
#include <string_view>

/// The frame of every ACPI table, and the Fixed ACPI Description Table. ACPI specification, "System Description Table
/// Header" and "Fixed ACPI Description Table (FADT)".
namespace hv::guest::acpi::detail {

inline constexpr std::string_view oem{"HV    "};

template <guest_memory M>
[[gnu::cold]] constexpr void begin_table(table_writer<M>& out, std::string_view signature, std::uint8_t revision) {
    out.begin(8);
    out.put(signature);
    out.put(std::uint32_t{}); // length
    out.put(revision);
    out.put(std::uint8_t{}); // checksum
    out.put(oem);
    out.put("HVTABLES");
    out.put(std::uint32_t{1});
    out.put("HV  ");
    out.put(std::uint32_t{1});
}

/// Answers where the table begins.
template <guest_memory M>
constexpr auto end_table(table_writer<M>& out) -> std::uint64_t {
    out.patch(4, static_cast<std::uint32_t>(out.size()));
    out.patch_checksum(9);
    return out.position() - out.size();
}

enum class address_space : std::uint8_t { memory = 0, io = 1 };

/// ACPI specification, "Generic Address Structure".
struct generic_address {
    address_space space{address_space::io};
    std::uint8_t bits{};
    std::uint8_t access{};
    std::uint64_t address{};
};

template <guest_memory M>
constexpr void put_address(table_writer<M>& out, generic_address const& a) {
    out.put(static_cast<std::uint8_t>(a.space));
    out.put(a.bits);
    out.put(std::uint8_t{}); // bit offset
    out.put(a.access);
    out.put(a.address);
}

/// ACPI specification, "Firmware ACPI Control Structure (FACS)".
template <guest_memory M>
[[gnu::cold]] constexpr void put_facs(table_writer<M>& out) {
    out.put("FACS");
    out.put(std::uint32_t{64});
    out.zeros(24); // no hardware signature, no waking vector, global lock free, no flags, no 64-bit vector
    out.put(std::uint8_t{2});
    out.zeros(31);
}

namespace fadt_flag {
inline constexpr std::uint32_t wbinvd{1u << 0};
inline constexpr std::uint32_t proc_c1{1u << 2};
inline constexpr std::uint32_t no_fixed_power_button{1u << 4};
inline constexpr std::uint32_t no_fixed_sleep_button{1u << 5};
inline constexpr std::uint32_t no_fixed_rtc_wake{1u << 6};
inline constexpr std::uint32_t pm_timer_32_bits{1u << 8};
inline constexpr std::uint32_t reset_register{1u << 10};
} // namespace fadt_flag

namespace boot_flag {
inline constexpr std::uint16_t legacy_devices{1u << 0};
inline constexpr std::uint16_t keyboard_controller{1u << 1};
inline constexpr std::uint16_t no_vga{1u << 2};
inline constexpr std::uint16_t no_rtc{1u << 5};
} // namespace boot_flag

template <guest_memory M>
[[gnu::cold]] constexpr auto write_fadt(table_writer<M>& out, platform const& p, std::uint64_t dsdt, std::uint64_t facs)
    -> std::uint64_t {
    std::uint32_t flags{fadt_flag::wbinvd | fadt_flag::proc_c1 | fadt_flag::no_fixed_power_button |
                        fadt_flag::no_fixed_sleep_button | fadt_flag::no_fixed_rtc_wake};
    if (p.pm_timer != 0 and p.pm_timer_32_bits)
        flags |= fadt_flag::pm_timer_32_bits;
    if (p.reset_port != 0)
        flags |= fadt_flag::reset_register;
    auto const boot = static_cast<std::uint16_t>(boot_flag::legacy_devices | boot_flag::no_vga |
                                                 (p.keyboard_controller ? boot_flag::keyboard_controller : 0) |
                                                 (p.rtc ? 0 : boot_flag::no_rtc));
    constexpr std::uint8_t by_byte{1}, by_word{2}, by_double_word{3};
    auto const block = [](std::uint16_t port, std::uint8_t bytes, std::uint8_t access) {
        return port == 0
                   ? generic_address{}
                   : generic_address{.bits = static_cast<std::uint8_t>(bytes * 8), .access = access, .address = port};
    };
    auto const length = [](std::uint16_t port, std::uint8_t bytes) {
        return static_cast<std::uint8_t>(port == 0 ? 0 : bytes);
    };

    begin_table(out, "FACP", 5);
    out.put(static_cast<std::uint32_t>(facs));
    out.put(static_cast<std::uint32_t>(dsdt));
    out.zeros(2); // reserved; no preferred power profile
    out.put(std::uint16_t{p.sci_line});
    out.zeros(8); // no SMI command port: the machine is in ACPI mode from the start
    out.put(std::uint32_t{p.pm1_event});
    out.zeros(4);
    out.put(std::uint32_t{p.pm1_control});
    out.zeros(8);
    out.put(std::uint32_t{p.pm_timer});
    out.zeros(8); // no general-purpose events
    out.put(length(p.pm1_event, 4));
    out.put(length(p.pm1_control, 2));
    out.zeros(1);
    out.put(length(p.pm_timer, 4));
    out.zeros(4);
    out.put(std::uint16_t{0xfff}); // C2 and C3 take too long: not supported
    out.put(std::uint16_t{0xfff});
    out.zeros(8);
    out.put(static_cast<std::uint8_t>(p.rtc ? 0x32 : 0)); // century
    out.put(boot);
    out.zeros(1);
    out.put(flags);
    put_address(out, block(p.reset_port, 1, by_byte));
    out.put(p.reset_value);
    out.zeros(2);
    out.put(std::uint8_t{1}); // ACPI 5.1
    out.put(std::uint64_t{}); // the FACS has its 32-bit address above, and only one of the two may be there
    out.put(dsdt);
    put_address(out, block(p.pm1_event, 4, by_word));
    put_address(out, {});
    put_address(out, block(p.pm1_control, 2, by_word));
    put_address(out, {});
    put_address(out, {});
    put_address(out, block(p.pm_timer, 4, by_double_word));
    put_address(out, {});
    put_address(out, {});
    put_address(out, {}); // sleep control and status: of hardware-reduced machines
    put_address(out, {});
    return end_table(out);
}

} // namespace hv::guest::acpi::detail
