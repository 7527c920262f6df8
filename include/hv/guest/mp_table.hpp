// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/memory_layout.hpp>
#include <hv/guest/platform.hpp>
#include <hv/guest/table_writer.hpp>
#include <hv/status.hpp>

#include <cstdint>

/// The table that guests without ACPI find processors and the I/O APIC with. MultiProcessor Specification 1.4, "MP
/// Configuration Table".
namespace hv::guest::mp {

namespace detail {

enum class entry : std::uint8_t { processor, bus, io_apic, io_interrupt, local_interrupt };
enum class interrupt : std::uint8_t { vectored, nmi, smi, external };

template <guest_memory M>
constexpr void put_interrupt(table_writer<M>& out, entry type, interrupt kind, std::uint8_t source,
                             std::uint8_t destination, std::uint8_t pin) {
    out.put(static_cast<std::uint8_t>(type));
    out.put(static_cast<std::uint8_t>(kind));
    out.put(std::uint16_t{}); // polarity and trigger of the bus
    out.put(std::uint8_t{});  // the only bus
    out.put(source);
    out.put(destination);
    out.put(pin);
}

template <guest_memory M>
constexpr auto put_entries(table_writer<M>& out, platform const& p) -> std::uint16_t {
    for (std::uint32_t i{}; i != p.processors; ++i) {
        out.put(static_cast<std::uint8_t>(entry::processor));
        out.put(static_cast<std::uint8_t>(p.arrangement.apic_id(i)));
        out.put(std::uint8_t{0x14});                        // version of an integrated local APIC
        out.put(static_cast<std::uint8_t>(i == 0 ? 3 : 1)); // enabled; the first is the bootstrap processor
        out.put(std::uint32_t{0x600});                      // family 6
        out.put(std::uint32_t{0x201});                      // FPU, APIC
        out.zeros(8);
    }
    out.put(static_cast<std::uint8_t>(entry::bus));
    out.put(std::uint8_t{});
    out.put("ISA   ");
    auto count = static_cast<std::uint16_t>(p.processors + 1);
    if (p.io_apic != 0) {
        out.put(static_cast<std::uint8_t>(entry::io_apic));
        out.put(p.io_apic_id);
        out.put(std::uint8_t{0x11});
        out.put(std::uint8_t{1}); // enabled
        out.put(p.io_apic);
        ++count;
        for (std::uint8_t line{}; line != 16; ++line)
            if (line != 2) { // the cascade; its pin is that of line 0
                put_interrupt(out, entry::io_interrupt, interrupt::vectored, line, p.io_apic_id,
                              line == 0 ? std::uint8_t{2} : line);
                ++count;
            }
    }
    put_interrupt(out, entry::local_interrupt, interrupt::external, 0, 0xff, 0);
    put_interrupt(out, entry::local_interrupt, interrupt::nmi, 0, 0xff, 1);
    return static_cast<std::uint16_t>(count + 2);
}

} // namespace detail

/// Writes the table of a platform to the BIOS area and answers where the floating pointer is. bad_address if that is
/// not memory, too_big if there are more processors than APIC ids.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto write(M& memory, platform const& p) -> result<std::uint64_t> {
    if (p.processors == 0 or p.processors > 255)
        return status::too_big;
    table_writer out{memory, memory_layout::mp_first, memory_layout::reserved_end};
    auto const pointer = out.begin(16);
    constexpr unsigned pointer_size{16};
    out.put("_MP_");
    out.put(static_cast<std::uint32_t>(pointer + pointer_size));
    out.put(std::uint8_t{pointer_size / 16});
    out.put(std::uint8_t{4}); // revision 1.4
    out.zeros(6);             // checksum; a table follows; no IMCR
    out.patch_checksum(10);

    out.begin(16);
    out.put("PCMP");
    out.zeros(2); // length
    out.put(std::uint8_t{4});
    out.zeros(1); // checksum
    out.put("HV      HVTABLES    ");
    out.zeros(6);
    out.zeros(2); // number of entries
    out.put(p.local_apic);
    out.zeros(4);
    auto const count = detail::put_entries(out, p);
    out.patch(34, count);
    out.patch(4, static_cast<std::uint16_t>(out.size()));
    out.patch_checksum(7);
    if (not out.ok())
        return status::bad_address;
    return pointer;
}

} // namespace hv::guest::mp
