// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "acpi.hpp"
#include "instructions.hpp"
#include "trap.hpp"

#include <hv/address.hpp>

#include <cstdint>

namespace hv::bare {

/// Moves the two 8259s away from the exceptions' vectors and masks all of their inputs.
inline void silence_legacy_pics() {
    constexpr std::uint16_t master{0x20}, slave{0xa0};
    for (auto const command : {master, slave}) {
        auto const data = static_cast<std::uint16_t>(command + 1);
        auto const is_master = command == master;
        out8(command, 0x11); // ICW1: cascaded, ICW4 follows
        out8(data, static_cast<std::uint8_t>(vector::legacy_pic + (is_master ? 0 : 8)));
        out8(data, is_master ? 0x04 : 0x02); // ICW3: the slave is at input 2
        out8(data, 0x01);                    // ICW4: 8086
        out8(data, 0xff);
    }
}

/// An I/O APIC, as 82093AA. "I/O APIC Registers" of its datasheet.
class io_apic {
  public:
    constexpr explicit io_apic(hpa address) : registers_{address} {}

    [[nodiscard]] auto pin_count() -> std::uint32_t { return (read(1) >> 16 & 0xff) + 1; }
    void mask_all() {
        for (std::uint32_t pin{0}; pin != pin_count(); ++pin)
            write(redirection + 2 * pin, masked);
    }
    /// Sends a pin's interrupts to the processor with this APIC id, fixed delivery.
    void route(std::uint32_t pin, std::uint8_t vector, std::uint32_t destination, bool active_low, bool level) {
        write(redirection + 2 * pin + 1, destination << 24);
        write(redirection + 2 * pin, vector | (active_low ? 1u << 13 : 0u) | (level ? 1u << 15 : 0u));
    }

  private:
    static constexpr std::uint32_t redirection{0x10};
    static constexpr std::uint32_t masked{1u << 16};

    [[nodiscard]] auto at(std::uint64_t offset) const -> std::uint32_t volatile* {
        return reinterpret_cast<std::uint32_t volatile*>(registers_.value + offset);
    }
    auto read(std::uint32_t index) -> std::uint32_t {
        *at(0) = index;
        return *at(0x10);
    }
    void write(std::uint32_t index, std::uint32_t value) {
        *at(0) = index;
        *at(0x10) = value;
    }

    hpa registers_;
};

/// Masks every pin of the board, then routes one ISA interrupt. False if no I/O APIC has its pin.
inline auto route_isa_interrupt(board const& b, std::uint8_t line, std::uint8_t vector, std::uint32_t destination)
    -> bool {
    auto const how = b.isa[line];
    bool routed{false};
    for (std::size_t n{0}; n != b.io_apic_count; ++n) {
        io_apic one{b.io_apics[n].address};
        one.mask_all();
        auto const first = b.io_apics[n].first_interrupt;
        if (how.global >= first and how.global - first < one.pin_count()) {
            one.route(how.global - first, vector, destination, how.active_low, how.level);
            routed = true;
        }
    }
    return routed;
}

} // namespace hv::bare
