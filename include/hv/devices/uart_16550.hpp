// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/abi/vmm_data_hv.hpp>
#include <hv/devices/device.hpp>
#include <hv/devices/output_pin.hpp>

#include <array>
#include <cstdint>

namespace hv {

struct uart_config {
    std::uint16_t base;
    std::uint8_t irq;
    std::uint8_t stream{0}; ///< where its bytes go; 0 is the console
};

/// A serial port: a 16550A with something always ready at the other end. There is no baud rate: a byte written is sent
/// at once, and a byte below the receiver's trigger level counts as timed out at once. Word length and parity do not
/// change data. OUT2 connects the interrupt to its line, as on a PC; in loopback OUT2 is off. PC16550D datasheet.
template <uart_config Config>
class uart_16550 {
    static_assert(Config.base % 8 == 0 and Config.base >= 0x100 and Config.base < 0x8000,
                  "a UART's base port is a multiple of 8 from 100h to 7FF8h");

  public:
    static constexpr char const* name{"uart_16550"};
    static constexpr std::array ports{port_range{.first = Config.base, .count = 8}};
    static constexpr std::array lines{irq_line{Config.irq}};

    using payload = hv_uart_v1;
    static constexpr std::uint16_t data_class{hv_data_uart + Config.base / 8};
    static constexpr std::uint16_t data_version{1};

    void reset(auto& context) {
        auto const pin = pin_;
        *this = {};
        pin_ = pin;
        drive(context);
    }

    [[nodiscard]] auto read_port(auto& context, std::uint16_t port, unsigned) -> std::uint32_t {
        switch (port & 7) {
        case 0:
            return latch_access() ? dll_ : receive_register(context);
        case 1:
            return latch_access() ? dlm_ : ier_;
        case 2:
            return identify(context);
        case 3:
            return lcr_;
        case 4:
            return mcr_;
        case 5: {
            auto const value = line_status();
            overrun_ = false;
            drive(context);
            return value;
        }
        case 6: {
            auto const value = modem_lines() | modem_changes_;
            modem_changes_ = 0;
            drive(context);
            return static_cast<std::uint32_t>(value);
        }
        default:
            return scr_;
        }
    }

    void write_port(auto& context, std::uint16_t port, unsigned, std::uint32_t value) {
        auto const byte = static_cast<std::uint8_t>(value);
        switch (port & 7) {
        case 0:
            if (latch_access())
                dll_ = byte;
            else
                transmit(context, byte);
            break;
        case 1:
            if (latch_access())
                dlm_ = byte;
            else
                enable(byte & 0xf);
            break;
        case 2:
            control_fifos(byte);
            break;
        case 3:
            lcr_ = byte;
            break;
        case 4:
            control_modem(byte & 0x1f);
            break;
        case 5:
        case 6:
            break; // read-only outside factory tests
        default:
            scr_ = byte;
            break;
        }
        drive(context);
    }

    /// A byte from outside. False if there is no room (or loopback disconnects the receiver): the caller keeps it.
    [[nodiscard]] auto receive(auto& context, std::uint8_t byte) -> bool {
        if (not can_receive())
            return false;
        received_[received_count_++] = byte;
        drive(context);
        return true;
    }
    [[nodiscard]] auto can_receive() const -> bool { return not is_loopback() and received_count_ < capacity(); }

    [[nodiscard]] auto save(auto&) const -> payload {
        payload image{};
        image.ier = ier_;
        image.fcr = fcr_;
        image.lcr = lcr_;
        image.mcr = mcr_;
        image.lsr = overrun_ ? lsr_overrun : 0;
        image.msr = modem_changes_;
        image.scr = scr_;
        image.dll = dll_;
        image.dlm = dlm_;
        image.thr_empty = transmitter_due_ ? 1 : 0;
        image.received_count = received_count_;
        for (unsigned i{0}; i < received_.size(); ++i)
            image.received[i] = received_[i];
        return image;
    }

    auto restore(auto&, payload const& image) -> status {
        uart_16550 other{};
        other.ier_ = image.ier;
        other.fcr_ = image.fcr;
        other.lcr_ = image.lcr;
        other.mcr_ = image.mcr;
        other.overrun_ = (image.lsr & lsr_overrun) != 0;
        other.modem_changes_ = image.msr;
        other.scr_ = image.scr;
        other.dll_ = image.dll;
        other.dlm_ = image.dlm;
        other.transmitter_due_ = image.thr_empty != 0;
        other.received_count_ = image.received_count;
        if ((image.ier & 0xf0) != 0 or (image.fcr & 0x3e) != 0 or (image.mcr & 0xe0) != 0 or
            (image.lsr & ~lsr_overrun) != 0 or (image.msr & 0xf0) != 0 or image.thr_empty > 1 or
            image.received_count > other.capacity() or (not other.has_fifos() and image.fcr != 0))
            return status::invalid_argument;
        for (unsigned i{0}; i < other.received_.size(); ++i)
            other.received_[i] = image.received[i];
        other.pin_.assume(other.interrupts());
        *this = other;
        return status::ok;
    }

  private:
    // Interrupt enable register; the identification register names the same four sources.
    static constexpr std::uint8_t on_received{1};
    static constexpr std::uint8_t on_transmitter_empty{2};
    static constexpr std::uint8_t on_line_status{4};
    static constexpr std::uint8_t on_modem_status{8};
    static constexpr std::uint8_t identified_none{1};
    static constexpr std::uint8_t identified_modem{0};
    static constexpr std::uint8_t identified_transmitter{2};
    static constexpr std::uint8_t identified_received{4};
    static constexpr std::uint8_t identified_line{6};
    static constexpr std::uint8_t identified_timeout{12};
    static constexpr std::uint8_t fifos_on{0xc0};
    static constexpr std::uint8_t lcr_divisor_latch{0x80};
    static constexpr std::uint8_t mcr_dtr{1};
    static constexpr std::uint8_t mcr_rts{2};
    static constexpr std::uint8_t mcr_out1{4};
    static constexpr std::uint8_t mcr_out2{8};
    static constexpr std::uint8_t mcr_loopback{16};
    static constexpr std::uint8_t lsr_data_ready{1};
    static constexpr std::uint8_t lsr_overrun{2};
    static constexpr std::uint8_t lsr_transmitter_empty{0x60}; ///< holding register and shift register
    static constexpr std::uint8_t msr_cts{0x10};
    static constexpr std::uint8_t msr_dsr{0x20};
    static constexpr std::uint8_t msr_ri{0x40};
    static constexpr std::uint8_t msr_dcd{0x80};

    [[nodiscard]] auto latch_access() const -> bool { return (lcr_ & lcr_divisor_latch) != 0; }
    [[nodiscard]] auto is_loopback() const -> bool { return (mcr_ & mcr_loopback) != 0; }
    [[nodiscard]] auto has_fifos() const -> bool { return (fcr_ & 1) != 0; }
    [[nodiscard]] auto capacity() const -> unsigned { return has_fifos() ? 16 : 1; }
    [[nodiscard]] auto trigger_level() const -> unsigned {
        constexpr std::array<std::uint8_t, 4> levels{1, 4, 8, 14};
        return has_fifos() ? levels[fcr_ >> 6] : 1;
    }

    [[nodiscard]] auto line_status() const -> std::uint8_t {
        return static_cast<std::uint8_t>(lsr_transmitter_empty | (received_count_ != 0 ? lsr_data_ready : 0) |
                                         (overrun_ ? lsr_overrun : 0));
    }
    /// Outside loopback, a peer that is always there and ready.
    [[nodiscard]] auto modem_lines() const -> std::uint8_t {
        if (not is_loopback())
            return msr_dcd | msr_dsr | msr_cts;
        return static_cast<std::uint8_t>(((mcr_ & mcr_rts) != 0 ? msr_cts : 0) | ((mcr_ & mcr_dtr) != 0 ? msr_dsr : 0) |
                                         ((mcr_ & mcr_out1) != 0 ? msr_ri : 0) |
                                         ((mcr_ & mcr_out2) != 0 ? msr_dcd : 0));
    }

    /// The highest source that is due, as the identification register shows it.
    [[nodiscard]] auto source() const -> std::uint8_t {
        if ((ier_ & on_line_status) != 0 and overrun_)
            return identified_line;
        if ((ier_ & on_received) != 0 and received_count_ != 0)
            return received_count_ >= trigger_level() ? identified_received : identified_timeout;
        if ((ier_ & on_transmitter_empty) != 0 and transmitter_due_)
            return identified_transmitter;
        if ((ier_ & on_modem_status) != 0 and modem_changes_ != 0)
            return identified_modem;
        return identified_none;
    }
    [[nodiscard]] auto interrupts() const -> bool {
        return source() != identified_none and (mcr_ & mcr_out2) != 0 and not is_loopback();
    }
    void drive(auto& context) { pin_.drive(context, lines[0], interrupts()); }

    [[nodiscard]] auto identify(auto& context) -> std::uint32_t {
        auto const value = source();
        if (value == identified_transmitter)
            transmitter_due_ = false;
        drive(context);
        return static_cast<std::uint32_t>(value | (has_fifos() ? fifos_on : 0));
    }

    [[nodiscard]] auto receive_register(auto& context) -> std::uint32_t {
        if (received_count_ == 0)
            return received_[0]; // the register keeps the last byte
        auto const byte = received_[0];
        --received_count_;
        for (unsigned i{0}; i < received_count_; ++i)
            received_[i] = received_[i + 1];
        if (received_count_ == 0)
            received_[0] = byte;
        drive(context);
        return byte;
    }

    void transmit(auto& context, std::uint8_t byte) {
        // The write takes the interrupt back and the empty register asks for it again: an edge for the 8259.
        transmitter_due_ = false;
        drive(context);
        if (not is_loopback()) {
            context.put(stream_id{Config.stream}, byte);
        } else if (received_count_ < capacity()) {
            received_[received_count_++] = byte;
        } else {
            overrun_ = true; // a full FIFO keeps what it has, a lone register takes the new byte
            if (not has_fifos())
                received_[0] = byte;
        }
        transmitter_due_ = true;
    }

    void enable(std::uint8_t ier) {
        if ((ier & ~ier_ & on_transmitter_empty) != 0)
            transmitter_due_ = true; // it is empty now, as always
        ier_ = ier;
    }

    void control_fifos(std::uint8_t byte) {
        if ((byte & 1) != (fcr_ & 1) or (byte & 3) == 3)
            received_count_ = 0;
        fcr_ = (byte & 1) != 0 ? byte & 0xc1 : 0;
    }

    void control_modem(std::uint8_t mcr) {
        auto const before = modem_lines();
        mcr_ = mcr;
        auto const after = modem_lines();
        // RI counts when it goes away, the others when they change.
        modem_changes_ |= static_cast<std::uint8_t>(((before ^ after) & (msr_cts | msr_dsr | msr_dcd)) >> 4 |
                                                    (before & ~after & msr_ri) >> 4);
    }

    std::array<std::uint8_t, 16> received_{};
    std::uint8_t received_count_{};
    std::uint8_t ier_{};
    std::uint8_t fcr_{};
    std::uint8_t lcr_{};
    std::uint8_t mcr_{};
    std::uint8_t scr_{};
    std::uint8_t dll_{12}; ///< 9600 baud
    std::uint8_t dlm_{};
    std::uint8_t modem_changes_{};
    bool overrun_{};
    bool transmitter_due_{};
    output_pin pin_{};
};
using com1 = uart_16550<uart_config{.base = 0x3f8, .irq = 4}>;
static_assert(device<com1> and port_device<com1> and line_device<com1> and saveable<com1>);

} // namespace hv
