// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/abi/vmm_data_hv.hpp>
#include <hv/devices/device.hpp>
#include <hv/devices/output_pin.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// The fixed hardware of ACPI: event registers PM1a_EVT, control register PM1a_CNT, the 32-bit power management timer
/// at 3579545 Hz, and the reset register. The constants are what a FADT and an \_S5 package have to say. ACPI
/// Specification, "ACPI Register Model" and "Power Management Timer".
///
/// The reference payload is the timer alone; PM1a has a second payload (hv::extended).
///
/// The reset register lies in the address port of PCI configuration mechanism 1, which is 32 bits wide: this device
/// owns those four ports and says that there is no PCI, so that a 32-bit write there is never taken for a reset.
class pm_timer {
  public:
    static constexpr std::uint16_t event_port{0x600};   ///< PM1a_EVT_BLK, 4 bytes
    static constexpr std::uint16_t control_port{0x604}; ///< PM1a_CNT_BLK, 2 bytes
    static constexpr std::uint16_t timer_port{0x608};   ///< PM_TMR_BLK, 4 bytes
    static constexpr std::uint16_t reset_port{0xcf9};   ///< RESET_REG, 1 byte
    static constexpr std::uint8_t reset_value{6};
    static constexpr irq_line system_control_interrupt{9}; ///< SCI_INT: level, active high
    static constexpr std::uint8_t slp_typ_s5{5};
    static constexpr std::uint64_t frequency{3579545};

    static constexpr char const* name{"pm_timer"};
    static constexpr bool reads_move_deadline{false};
    static constexpr std::array ports{port_range{.first = event_port, .count = 12, .widest = 4},
                                      port_range{.first = 0xcf8, .count = 4, .widest = 4}};
    static constexpr std::array lines{system_control_interrupt};

    using payload = hv_pm_timer_v1;
    static constexpr std::uint16_t data_class{hv_data_pm_timer};
    static constexpr std::uint16_t data_version{1};
    using extension = hv_pm_registers_v1;
    static constexpr std::uint16_t extension_class{hv_data_pm_registers};
    static constexpr std::uint16_t extension_version{1};

    [[gnu::cold]] void reset(auto& context) {
        status_ = enable_ = 0;
        control_ = sci_enable;
        base_ = context.now();
        half_ = 0;
        drive(context);
    }

    [[nodiscard, gnu::cold]] auto read_port(auto& context, std::uint16_t port, unsigned size) -> std::uint32_t {
        auto const offset = port - event_port;
        auto const mask = size >= 4 ? 0xffffffff : (1u << size * 8) - 1;
        if (offset < 0 or offset >= ports[0].count)
            return mask;
        catch_up(context);
        auto const registers = static_cast<std::uint64_t>(status_) | static_cast<std::uint64_t>(enable_) << 16 |
                               static_cast<std::uint64_t>(control_) << 32;
        if (offset < 8)
            return static_cast<std::uint32_t>(registers >> offset * 8) & mask;
        return static_cast<std::uint32_t>(ticks(context.now())) >> (offset - 8) * 8 & mask;
    }

    [[gnu::cold]] void write_port(auto& context, std::uint16_t port, unsigned size, std::uint32_t value) {
        catch_up(context);
        if (port == reset_port) {
            if (size == 1 and (value & reset_processor) != 0)
                context.reset_machine();
            return;
        }
        for (unsigned i{0}; i < size and i < 4; ++i)
            write_byte(context, port + i, static_cast<std::uint8_t>(value >> i * 8));
        drive(context);
    }

    /// When the timer's highest bit next changes, if that is to interrupt.
    [[nodiscard]] auto deadline() const -> instant {
        if ((enable_ & timer_event) == 0 or (status_ & timer_event) != 0)
            return never;
        return base_ + time_for((half_ + 1) << 31, frequency);
    }
    void expire(auto& context) { catch_up(context); }

    [[nodiscard]] auto save(auto&) const -> payload {
        payload image{};
        image.time_base = base_.since_creation;
        image.ioport = timer_port;
        return image;
    }
    auto restore(auto& context, payload const& image) -> status {
        if (image.time_base < 0 or instant{image.time_base} > context.now())
            return status::invalid_argument;
        base_ = instant{image.time_base};
        half_ = ticks(context.now()) >> 31;
        return status::ok;
    }

    [[nodiscard]] auto save_extension(auto& context) const -> extension {
        auto const changed = ticks(context.now()) >> 31 != half_;
        return {.status = static_cast<std::uint16_t>(status_ | (changed ? timer_event : 0)),
                .enable = enable_,
                .control = control_};
    }
    /// Restored after the first payload.
    auto restore_extension(auto& context, extension const& image) -> status {
        if ((image.status & ~events) != 0 or (image.enable & ~events) != 0 or
            (image.control & ~(sci_enable | control_kept)) != 0 or (image.control & sci_enable) == 0)
            return status::invalid_argument;
        status_ = image.status;
        enable_ = image.enable;
        control_ = image.control;
        half_ = ticks(context.now()) >> 31;
        pin_.assume((status_ & enable_) != 0);
        return status::ok;
    }

  private:
    static constexpr std::uint16_t timer_event{1u << 0};
    /// What this machine can signal: the timer. Global lock and buttons can be enabled but never happen.
    static constexpr std::uint16_t events{timer_event | 1u << 5 | 1u << 8 | 1u << 9 | 1u << 10};
    static constexpr std::uint16_t sci_enable{1u << 0}; ///< always: there is no legacy mode to come from
    static constexpr std::uint16_t control_kept{1u << 1 | 7u << 10};
    static constexpr std::uint8_t sleep_enable{1u << 5}; ///< in the upper byte of the control register
    static constexpr std::uint8_t reset_processor{1u << 2};

    [[nodiscard]] auto ticks(instant now) const -> std::uint64_t {
        return now > base_ ? ticks_in(now - base_, frequency) : 0;
    }

    [[gnu::cold]] void catch_up(auto& context) {
        auto const half = ticks(context.now()) >> 31;
        if (half <= half_) // less: another processor's clock was ahead, and saw the change
            return;
        half_ = half;
        status_ |= timer_event;
        drive(context);
    }
    [[gnu::cold]] void drive(auto& context) { pin_.drive(context, system_control_interrupt, (status_ & enable_) != 0); }

    [[nodiscard]] static constexpr auto with_byte(std::uint16_t word, unsigned shift, std::uint8_t byte)
        -> std::uint16_t {
        return static_cast<std::uint16_t>((word & ~(0xffu << shift)) | static_cast<unsigned>(byte) << shift);
    }

    [[gnu::cold]] void write_byte(auto& context, unsigned port, std::uint8_t byte) {
        auto const shift = (port & 1) * 8;
        switch (port - event_port) {
        case 0:
        case 1:
            status_ &= static_cast<std::uint16_t>(~(static_cast<unsigned>(byte) << shift));
            break;
        case 2:
        case 3:
            enable_ = with_byte(enable_, shift, byte) & events;
            break;
        case 4:
        case 5:
            control_ = static_cast<std::uint16_t>((with_byte(control_, shift, byte) & control_kept) | sci_enable);
            if (shift != 0 and (byte & sleep_enable) != 0 and (control_ >> 10 & 7) == slp_typ_s5)
                context.power_off();
            break;
        default:
            break; // the timer cannot be written
        }
    }

    instant base_{};       ///< when the timer read 0
    std::uint64_t half_{}; ///< how often the timer's highest bit has changed, as far as `status_` knows
    std::uint16_t status_{};
    std::uint16_t enable_{};
    std::uint16_t control_{sci_enable};
    output_pin pin_{};
};
static_assert(device<pm_timer> and port_device<pm_timer> and timed_device<pm_timer> and line_device<pm_timer> and
              saveable<pm_timer> and extended<pm_timer>);

} // namespace hv
