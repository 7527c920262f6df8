// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "instructions.hpp"

#include <cstdint>

namespace hv::bare {

/// A serial port with a 16550's FIFOs, 115200 8N1. Output is polled, but only once for each FIFO full: behind an
/// emulator every access of a port costs more than a hundred bytes of copying.
class uart {
  public:
    constexpr explicit uart(std::uint16_t base) : base_{base} {}

    /// Sets the port up; false, and every later call does nothing, if none answers.
    auto start() -> bool {
        present_ = answers();
        if (not present_)
            return false;
        out8(at(interrupt_enable), 0);
        out8(at(line_control), 0x80); // divisor latch
        out8(at(data), 1);
        out8(at(interrupt_enable), 0);
        out8(at(line_control), 0x03);  // eight bits, no parity, one stop bit
        out8(at(fifo_control), 0x07);  // on, both emptied, interrupt at the first byte
        out8(at(modem_control), 0x0b); // DTR, RTS, OUT2: the interrupt line is connected
        depth_ = (in8(at(fifo_control)) & 0xc0) == 0xc0 ? 16 : 1;
        return true;
    }

    [[nodiscard]] auto present() const -> bool { return present_; }

    void put(std::uint8_t byte) {
        if (not present_)
            return;
        if (room_ == 0)
            wait_for(transmitter_holding_empty);
        out8(at(data), byte);
        --room_;
    }

    /// The next byte received, or -1.
    auto get() -> int { return present_ and (in8(at(line_status)) & data_ready) != 0 ? in8(at(data)) : -1; }

    /// Waits until the last byte has left the shift register.
    void drain() {
        if (present_)
            wait_for(transmitter_holding_empty | transmitter_empty);
    }

    /// The line of this port is asserted whenever a byte waits.
    void interrupt_on_receive(bool on) {
        if (present_)
            out8(at(interrupt_enable), on ? 1 : 0);
    }

  private:
    static constexpr std::uint16_t data{0}, interrupt_enable{1}, fifo_control{2}, line_control{3}, modem_control{4},
        line_status{5}, scratch{7};
    static constexpr std::uint8_t data_ready{1u << 0}, transmitter_holding_empty{1u << 5}, transmitter_empty{1u << 6};

    [[nodiscard]] auto at(std::uint16_t offset) const -> std::uint16_t {
        return static_cast<std::uint16_t>(base_ + offset);
    }
    [[nodiscard]] auto answers() const -> bool {
        out8(at(scratch), 0x5a);
        if (in8(at(scratch)) != 0x5a)
            return false;
        out8(at(scratch), 0xa5);
        return in8(at(scratch)) == 0xa5;
    }
    void wait_for(std::uint8_t bits) {
        while ((in8(at(line_status)) & bits) != bits)
            asm volatile("pause");
        room_ = depth_;
    }

    std::uint16_t base_;
    bool present_{false};
    std::uint8_t depth_{1};
    std::uint8_t room_{0};
};

} // namespace hv::bare
