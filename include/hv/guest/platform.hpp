// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/topology.hpp>

#include <cstdint>

namespace hv::guest {

/// What the firmware tables tell a guest about its machine. A member that is 0 or false is a device that the machine
/// does not have.
struct platform {
    std::uint32_t processors{1}; ///< at most 255
    topology arrangement{};      ///< says their APIC ids; 0 and up if it is of one processor
    std::uint32_t local_apic{0xfee00000};
    std::uint32_t io_apic{0xfec00000};
    std::uint8_t io_apic_id{0};
    bool pic_8259{true};
    bool keyboard_controller{true};
    bool rtc{true};
    std::uint32_t hpet{0xfed00000};
    std::uint32_t hpet_block_id{0x80860701}; ///< the low half of the HPET's capabilities register
    std::uint16_t pm1_event{0x600};          ///< PM1a event block, 4 ports
    std::uint16_t pm1_control{0x604};        ///< PM1a control block, 2 ports
    std::uint16_t pm_timer{0x608};
    bool pm_timer_32_bits{true};
    std::uint8_t sleep_type_s5{5}; ///< what SLP_TYP holds to power off
    std::uint8_t sci_line{9};      ///< level, active high
    std::uint16_t reset_port{0xcf9};
    std::uint8_t reset_value{6};
    std::uint16_t uart{0x3f8}; ///< first serial port
    std::uint8_t uart_line{4};
};

} // namespace hv::guest
