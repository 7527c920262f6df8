// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "uart.hpp"

#include <array>
#include <cstdint>

namespace hv::bare {

/// The first serial port. Input arrives by interrupt once one is routed, so that it ends `idle`; asking for it then
/// costs no access of a port.
class console {
  public:
    void start() { (void)port_.start(); }
    void put(std::uint8_t byte) { port_.put(byte); }
    void drain() { port_.drain(); }

    /// From now on every waiting byte makes an interrupt.
    void receive_by_interrupt() {
        by_interrupt_ = true;
        port_.interrupt_on_receive(true);
    }

    /// The interrupt: takes all bytes that wait, or the line, which is edge-triggered, would stay silent. With no room
    /// left it stays silent on purpose, until `get` makes room.
    void receive() {
        for (;;) {
            if (end_ - first_ == bytes_.size()) {
                port_.interrupt_on_receive(false);
                full_ = true;
                return;
            }
            auto const byte = port_.get();
            if (byte < 0)
                return;
            bytes_[end_++ % bytes_.size()] = static_cast<std::uint8_t>(byte);
        }
    }

    /// The next byte, or -1.
    [[nodiscard]] auto get() -> int {
        if (not by_interrupt_)
            return port_.get();
        if (first_ == end_)
            return -1;
        auto const byte = bytes_[first_++ % bytes_.size()];
        if (full_) {
            full_ = false;
            port_.interrupt_on_receive(true);
        }
        return byte;
    }

  private:
    uart port_{0x3f8};
    std::array<std::uint8_t, 256> bytes_{};
    std::uint32_t first_{0}; ///< both run on and wrap at 2^32, a multiple of the size
    std::uint32_t end_{0};
    bool by_interrupt_{false};
    bool full_{false};
};

} // namespace hv::bare
