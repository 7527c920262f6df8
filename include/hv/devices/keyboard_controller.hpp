// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/abi/vmm_data_hv.hpp>
#include <hv/devices/device.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// The 8042 of a PC without keyboard and mouse: it answers its own commands, so that a probe ends quickly and finds
/// nothing, and it can reset the machine. Bytes for the keyboard vanish. Address line 20 is never masked; its gate is
/// a bit that reads back what was written. IBM PS/2 Hardware Interface Technical Reference, "Keyboard/Auxiliary Device
/// Controller"; port 92h is system control port A.
class keyboard_controller {
  public:
    static constexpr char const* name{"keyboard_controller"};
    static constexpr std::array ports{port_range{.first = 0x60, .count = 1}, port_range{.first = 0x64, .count = 1},
                                      port_range{.first = 0x92, .count = 1}};

    using payload = hv_keyboard_controller_v1;
    static constexpr std::uint16_t data_class{hv_data_keyboard_controller};
    static constexpr std::uint16_t data_version{1};

    void reset(auto&) { *this = {}; }

    [[nodiscard]] auto read_port(auto&, std::uint16_t port, unsigned) -> std::uint32_t {
        switch (port) {
        case data_port:
            full_ = false;
            return data_;
        case command_port:
            return status_not_locked | (full_ ? status_full : 0u) | (command_last_ ? status_command : 0u) |
                   (command_byte_ & command_byte_system);
        case system_port:
            return output_port_ & output_a20;
        default:
            return 0xff;
        }
    }

    [[gnu::cold]] void write_port(auto& context, std::uint16_t port, unsigned, std::uint32_t value) {
        auto const byte = static_cast<std::uint8_t>(value);
        switch (port) {
        case data_port:
            command_last_ = false;
            take_data(context, byte);
            break;
        case command_port:
            command_last_ = true;
            command_ = 0;
            take_command(context, byte);
            break;
        case system_port:
            output_port_ = static_cast<std::uint8_t>((output_port_ & ~output_a20) | (byte & output_a20));
            if ((byte & 1) != 0)
                context.reset_machine();
            break;
        default:
            break;
        }
    }

    [[nodiscard]] auto save(auto&) const -> payload {
        return {.command_byte = command_byte_,
                .output_port = output_port_,
                .data = data_,
                .status = static_cast<std::uint8_t>((full_ ? status_full : 0) | (command_last_ ? status_command : 0)),
                .command = command_};
    }
    auto restore(auto&, payload const& image) -> status {
        auto const waits = image.command;
        if ((image.status & ~(status_full | status_command)) != 0 or (image.output_port & output_not_reset) == 0)
            return status::invalid_argument;
        if (waits != 0 and waits != write_command_byte and waits != write_output_port and waits != write_output and
            waits != write_auxiliary_output and waits != write_auxiliary)
            return status::invalid_argument;
        command_byte_ = image.command_byte;
        output_port_ = image.output_port;
        data_ = image.data;
        full_ = (image.status & status_full) != 0;
        command_last_ = (image.status & status_command) != 0;
        command_ = waits;
        return status::ok;
    }

  private:
    static constexpr std::uint16_t data_port{0x60};
    static constexpr std::uint16_t command_port{0x64};
    static constexpr std::uint16_t system_port{0x92};

    static constexpr std::uint8_t status_full{1u << 0};
    static constexpr std::uint8_t status_command{1u << 3};
    static constexpr std::uint8_t status_not_locked{1u << 4};
    static constexpr std::uint8_t command_byte_system{1u << 2}; ///< the same place in the status register
    static constexpr std::uint8_t output_not_reset{1u << 0};
    static constexpr std::uint8_t output_a20{1u << 1};

    static constexpr std::uint8_t read_command_byte{0x20};
    static constexpr std::uint8_t write_command_byte{0x60};
    static constexpr std::uint8_t disable_auxiliary{0xa7};
    static constexpr std::uint8_t enable_auxiliary{0xa8};
    static constexpr std::uint8_t test_auxiliary{0xa9};
    static constexpr std::uint8_t self_test{0xaa};
    static constexpr std::uint8_t test_keyboard{0xab};
    static constexpr std::uint8_t disable_keyboard{0xad};
    static constexpr std::uint8_t enable_keyboard{0xae};
    static constexpr std::uint8_t read_input_port{0xc0};
    static constexpr std::uint8_t read_output_port{0xd0};
    static constexpr std::uint8_t write_output_port{0xd1};
    static constexpr std::uint8_t write_output{0xd2};
    static constexpr std::uint8_t write_auxiliary_output{0xd3};
    static constexpr std::uint8_t write_auxiliary{0xd4};
    static constexpr std::uint8_t pulse_output_port{0xf0}; ///< bits 3:0, active low
    static constexpr std::uint8_t self_test_passed{0x55};
    static constexpr std::uint8_t clock_line_low{0x01}; ///< nothing is plugged in
    static constexpr std::uint8_t keyboard_off{1u << 4};
    static constexpr std::uint8_t auxiliary_off{1u << 5};
    static constexpr std::uint8_t translate{1u << 6};

    void answer(std::uint8_t byte) {
        data_ = byte;
        full_ = true;
    }
    void switch_off(std::uint8_t bit, bool off) {
        command_byte_ = static_cast<std::uint8_t>(off ? command_byte_ | bit : command_byte_ & ~bit);
    }

    [[gnu::cold]] void take_command(auto& context, std::uint8_t command) {
        switch (command) {
        case read_command_byte:
            return answer(command_byte_);
        case write_command_byte:
        case write_output_port:
        case write_output:
        case write_auxiliary_output:
        case write_auxiliary:
            command_ = command;
            return;
        case disable_auxiliary:
            return switch_off(auxiliary_off, true);
        case enable_auxiliary:
            return switch_off(auxiliary_off, false);
        case test_auxiliary:
            return answer(clock_line_low);
        case self_test:
            command_byte_ |= command_byte_system;
            return answer(self_test_passed);
        case test_keyboard:
            return answer(0);
        case disable_keyboard:
            return switch_off(keyboard_off, true);
        case enable_keyboard:
            return switch_off(keyboard_off, false);
        case read_input_port:
            return answer(0x80); // the keyboard is not locked
        case read_output_port:
            return answer(output_port_);
        default:
            break;
        }
        if ((command & 0xf0) == pulse_output_port and (command & output_not_reset) == 0)
            context.reset_machine();
    }

    [[gnu::cold]] void take_data(auto& context, std::uint8_t byte) {
        auto const command = command_;
        command_ = 0;
        switch (command) {
        case write_command_byte:
            command_byte_ = byte;
            break;
        case write_output_port:
            output_port_ = byte | output_not_reset;
            if ((byte & output_not_reset) == 0)
                context.reset_machine();
            break;
        case write_output:
        case write_auxiliary_output:
            answer(byte);
            break; // comes back as the keyboard's: there is no second port
        default:
            break;
        }
    }

    std::uint8_t command_byte_{command_byte_system | auxiliary_off | translate}; // as a BIOS leaves it
    std::uint8_t output_port_{output_not_reset | output_a20};
    std::uint8_t data_{};
    std::uint8_t command_{}; ///< waits for its data byte
    bool full_{};
    bool command_last_{};
};
static_assert(device<keyboard_controller> and port_device<keyboard_controller> and saveable<keyboard_controller>);

} // namespace hv
