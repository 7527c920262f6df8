// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/devices/device.hpp>
#include <hv/interrupt.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// The I/O APIC: 32 pins, version 11h, so without the EOI register at 40h of later versions: an EOI arrives as a local
/// APIC's broadcast. Pin polarity is ignored: a pin is asserted or not. Intel 82093AA datasheet, "Register
/// Description".
class ioapic {
  public:
    static constexpr char const* name{"ioapic"};
    static constexpr std::array mmio{mmio_range{.first = 0xfec00000, .size = 0x1000}};
    static constexpr std::uint16_t data_class{hv_data_ioapic};
    static constexpr std::uint16_t data_version{1};
    static constexpr unsigned pin_count{32};
    using payload = hv_ioapic_v1;

    constexpr void reset(auto&) { *this = {}; }

    /// One more source asserts the pin. Errors: invalid_argument for no such pin, too_big for one assertion too many.
    constexpr auto raise(auto& context, unsigned number) -> status {
        if (number >= pin_count)
            return status::invalid_argument;
        auto& p = pins_[number];
        if (p.assertions == UINT32_MAX)
            return status::too_big;
        if (++p.assertions == 1)
            assert_pin(context, p);
        return status::ok;
    }
    /// One source takes its assertion back. Errors: invalid_argument for no such pin, out_of_range if none asserts it.
    constexpr auto lower(auto&, unsigned number) -> status {
        if (number >= pin_count)
            return status::invalid_argument;
        if (pins_[number].assertions == 0)
            return status::out_of_range;
        --pins_[number].assertions;
        return status::ok;
    }
    /// Raise and lower: nothing if another source holds the pin. Errors as of raise.
    constexpr auto pulse(auto& context, unsigned number) -> status {
        if (auto const error = raise(context, number); error != status::ok)
            return error;
        --pins_[number].assertions;
        return status::ok;
    }

    /// Whether an edge at some pin becomes an NMI.
    [[nodiscard]] constexpr auto may_raise_nmi() const -> bool {
        for (auto const& p : pins_)
            if ((p.entry & masked) == 0 and mode(p) == delivery_mode::nmi)
                return true;
        return false;
    }

    /// A local APIC ended a level-triggered vector: pins that wait for it and are still asserted ask again.
    constexpr void end_of_interrupt(auto& context, std::uint8_t vector) {
        for (auto& p : pins_)
            if ((p.entry & remote_irr) != 0 and static_cast<std::uint8_t>(p.entry) == vector) {
                p.entry &= ~remote_irr;
                assert_level(context, p);
            }
    }

    [[nodiscard]] constexpr auto asserted(unsigned number) const -> bool {
        return number < pin_count and pins_[number].assertions != 0;
    }

    /// Only 32-bit accesses to IOREGSEL and IOWIN reach a register.
    [[nodiscard]] constexpr auto read_mmio(auto&, std::uint64_t offset, unsigned size) -> std::uint64_t {
        if (size != 4)
            return 0;
        if (offset == select_offset)
            return select_;
        return offset == window_offset ? read_register() : 0;
    }
    constexpr void write_mmio(auto& context, std::uint64_t offset, unsigned size, std::uint64_t value) {
        if (size != 4)
            return;
        if (offset == select_offset)
            select_ = static_cast<std::uint8_t>(value);
        else if (offset == window_offset)
            write_register(context, static_cast<std::uint32_t>(value));
    }

    [[nodiscard]] constexpr auto save(auto&) const -> payload {
        payload image{};
        for (unsigned i{}; i < pin_count; ++i) {
            image.pin_reg[i] = pins_[i].entry;
            image.pin_level[i] = pins_[i].assertions;
        }
        image.id = id_;
        image.reg_sel = select_;
        return image;
    }
    /// Keeps the remote IRR of each pin: the EOI of an interrupt in service is still to come. Drops reserved bits of
    /// the entries. Errors: invalid_argument for a remote IRR on an edge-triggered pin and for reserved bits elsewhere.
    [[nodiscard]] constexpr auto restore(auto&, payload const& image) -> status {
        if ((image.id & ~id_bits) != 0 or image.reg_sel > 0xff)
            return status::invalid_argument;
        for (auto const entry : image.pin_reg)
            if ((entry & remote_irr) != 0 and (entry & level) == 0)
                return status::invalid_argument;
        for (unsigned i{}; i < pin_count; ++i)
            pins_[i] = {.entry = image.pin_reg[i] & (writable | remote_irr), .assertions = image.pin_level[i]};
        id_ = image.id;
        select_ = static_cast<std::uint8_t>(image.reg_sel);
        return status::ok;
    }

  private:
    struct pin {
        std::uint64_t entry{masked};
        std::uint32_t assertions{}; ///< sources that assert it now
    };

    static constexpr std::uint64_t select_offset{0x00};
    static constexpr std::uint64_t window_offset{0x10};
    static constexpr std::uint32_t version{0x11 | (pin_count - 1) << 16};
    static constexpr std::uint32_t id_bits{0x0f000000};
    static constexpr std::uint8_t id_register{0x00};
    static constexpr std::uint8_t version_register{0x01};
    static constexpr std::uint8_t arbitration_register{0x02};
    static constexpr std::uint8_t first_redirection_register{0x10};

    // A redirection table entry. Delivery status (bit 12) always reads idle.
    static constexpr unsigned delivery_mode_shift{8};
    static constexpr std::uint64_t logical{1u << 11};
    static constexpr std::uint64_t remote_irr{1u << 14};
    static constexpr std::uint64_t level{1u << 15};
    static constexpr std::uint64_t masked{1u << 16};
    static constexpr unsigned destination_shift{56};
    static constexpr std::uint64_t writable{0xff000000'0001afff};

    [[nodiscard]] static constexpr auto mode(pin const& p) -> delivery_mode {
        return static_cast<delivery_mode>(p.entry >> delivery_mode_shift & 7);
    }
    /// Only fixed and lowest-priority interrupts are level-triggered, whatever the entry says.
    [[nodiscard]] static constexpr auto is_level(pin const& p) -> bool {
        return (p.entry & level) != 0 and
               (mode(p) == delivery_mode::fixed or mode(p) == delivery_mode::lowest_priority);
    }

    /// The pin went from inactive to active. An edge that meets a masked entry is lost.
    constexpr void assert_pin(auto& context, pin& p) {
        if (is_level(p))
            assert_level(context, p);
        else if ((p.entry & masked) == 0)
            deliver(context, p);
    }
    constexpr void assert_level(auto& context, pin& p) {
        if (not is_level(p) or p.assertions == 0 or (p.entry & (masked | remote_irr)) != 0)
            return;
        p.entry |= remote_irr;
        deliver(context, p);
    }
    static constexpr void deliver(auto& context, pin const& p) {
        interrupt_message const message{
            .destination = widened_destination(static_cast<std::uint8_t>(p.entry >> destination_shift)),
            .vector = static_cast<std::uint8_t>(p.entry),
            .mode = mode(p),
            .logical = (p.entry & logical) != 0,
            .level = is_level(p)};
        switch (message.mode) {
        case delivery_mode::fixed:
        case delivery_mode::lowest_priority:
        case delivery_mode::nmi:
        case delivery_mode::external:
            return context.deliver(message);
        default:
            return; // a machine has no SMI, and no board wires INIT to a pin; the rest is reserved
        }
    }

    [[nodiscard]] constexpr auto read_register() const -> std::uint32_t {
        if (select_ == id_register or select_ == arbitration_register)
            return id_;
        if (select_ == version_register)
            return version;
        auto const index = static_cast<unsigned>(select_ - first_redirection_register);
        if (index >= 2 * pin_count)
            return 0;
        return static_cast<std::uint32_t>(pins_[index / 2].entry >> index % 2 * 32);
    }
    constexpr void write_register(auto& context, std::uint32_t value) {
        if (select_ == id_register)
            id_ = value & id_bits;
        auto const index = static_cast<unsigned>(select_ - first_redirection_register);
        if (index >= 2 * pin_count)
            return;
        auto& p = pins_[index / 2];
        auto const half = std::uint64_t{0xffffffff} << index % 2 * 32;
        p.entry = (p.entry & ~(half & writable)) | (std::uint64_t{value} << index % 2 * 32 & writable);
        if ((p.entry & level) == 0)
            p.entry &= ~remote_irr; // software without an EOI register recovers a stuck pin so
        assert_level(context, p);
    }

    std::array<pin, pin_count> pins_{};
    std::uint32_t id_{};
    std::uint8_t select_{};
};
static_assert(device<ioapic> and mmio_device<ioapic> and saveable<ioapic>);

} // namespace hv
