// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/devices/device.hpp>
#include <hv/devices/pic_chip.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// The two 8259As of a PC, the slave at input 2 of the master, with the edge/level control registers. The slave's INT
/// output is looked at when it matters, so nothing can be lost between the chips. INT reaches the processors through
/// `context.set_interrupt_request`; the one that takes it calls `acknowledge`.
class pic_8259 {
  public:
    static constexpr char const* name{"pic_8259"};
    static constexpr std::array ports{port_range{.first = 0x20, .count = 2}, port_range{.first = 0xa0, .count = 2},
                                      port_range{.first = 0x4d0, .count = 2}};
    static constexpr std::uint16_t data_class{hv_data_pic};
    static constexpr std::uint16_t data_version{1};
    static constexpr unsigned line_count{16};
    using payload = hv_pic_v1;

    constexpr void reset(auto& context) {
        master_ = {};
        slave_ = {};
        output_ = false;
        context.set_interrupt_request(false);
    }

    /// One more source asserts a line. Errors: invalid_argument for no such line (2 is the cascade), too_big for one
    /// assertion too many.
    constexpr auto raise(auto& context, unsigned line) -> status {
        if (not exists(line))
            return status::invalid_argument;
        auto const outcome = chip_of(line).raise(line & 7);
        update(context);
        return outcome;
    }
    /// One source takes its assertion back. Errors: invalid_argument, out_of_range if none asserts the line.
    constexpr auto lower(auto& context, unsigned line) -> status {
        if (not exists(line))
            return status::invalid_argument;
        auto const outcome = chip_of(line).lower(line & 7);
        update(context);
        return outcome;
    }
    /// Raise and lower: an edge, unless another source holds the line. Errors as of raise.
    constexpr auto pulse(auto& context, unsigned line) -> status {
        auto const outcome = raise(context, line);
        return outcome == status::ok ? lower(context, line) : outcome;
    }

    /// Sets how a line triggers, as the edge/level control registers do. Errors: invalid_argument for a line that must
    /// be edge-triggered (0, 1, 2, 8, 13) or does not exist.
    constexpr auto set_level_triggered(auto& context, unsigned line, bool level) -> status {
        if (line >= line_count)
            return status::invalid_argument;
        auto const bit = static_cast<std::uint8_t>(1u << (line & 7));
        auto& chip = chip_of(line);
        if (level and (bit & level_bits(line)) == 0)
            return status::invalid_argument;
        auto const others = static_cast<std::uint8_t>(chip.level_triggered() & ~bit);
        chip.set_level_triggered(static_cast<std::uint8_t>(others | (level ? bit : 0)));
        update(context);
        return status::ok;
    }

    /// The INT output.
    [[nodiscard]] constexpr auto interrupt_requested() const -> bool { return output_; }

    /// The INTA cycles: puts the highest request into service and answers its vector; that of input 7 if none is left.
    [[nodiscard]] constexpr auto acknowledge(auto& context) -> std::uint8_t {
        auto const vector = take();
        update(context);
        return vector;
    }

    [[nodiscard, gnu::always_inline]] constexpr auto read_port(auto& context, std::uint16_t port, unsigned)
        -> std::uint32_t {
        if (port >= edge_level_port)
            return (port == edge_level_port ? master_ : slave_).level_triggered();
        auto& chip = port < slave_port ? master_ : slave_;
        return (port & 1) != 0 and not chip.polled() ? chip.mask() : read_chip(context, port);
    }
    constexpr void write_port(auto& context, std::uint16_t port, unsigned, std::uint32_t value) {
        auto const byte = static_cast<std::uint8_t>(value);
        if (port >= edge_level_port) {
            auto& chip = port == edge_level_port ? master_ : slave_;
            chip.set_level_triggered(byte & (port == edge_level_port ? master_level_bits : slave_level_bits));
        } else {
            (port < slave_port ? master_ : slave_).write((port & 1) != 0, byte);
        }
        update(context);
    }

    [[nodiscard]] constexpr auto save(auto&) const -> payload {
        payload image{};
        image.chip[0] = master_.save(slave_requests(), output_);
        image.chip[1] = slave_.save(false, slave_requests());
        return image;
    }
    /// Errors: invalid_argument for a state that the chips cannot be in. The output follows from the rest.
    [[nodiscard]] constexpr auto restore(auto& context, payload const& image) -> status {
        if (not pic_chip::is_consistent(image.chip[0], master_level_bits) or
            not pic_chip::is_consistent(image.chip[1], slave_level_bits) or
            image.chip[0].level[pic_chip::slave_input] != 0)
            return status::invalid_argument;
        auto master = image.chip[0];
        master.reg_irr &= static_cast<std::uint8_t>(~pic_chip::slave_bit); // it is the slave's output
        master_.restore(master);
        slave_.restore(image.chip[1]);
        output_ = master_.highest(slave_requests()) != pic_chip::none;
        context.set_interrupt_request(output_);
        return status::ok;
    }

  private:
    static constexpr std::uint16_t slave_port{0xa0};
    static constexpr std::uint16_t edge_level_port{0x4d0};
    static constexpr std::uint8_t master_level_bits{0xf8}; ///< not the timer, the keyboard, the cascade
    static constexpr std::uint8_t slave_level_bits{0xde};  ///< not the clock, the coprocessor

    [[nodiscard]] static constexpr auto exists(unsigned line) -> bool {
        return line < line_count and line != pic_chip::slave_input;
    }
    [[nodiscard]] static constexpr auto level_bits(unsigned line) -> std::uint8_t {
        return line < 8 ? master_level_bits : slave_level_bits;
    }
    [[nodiscard]] constexpr auto chip_of(unsigned line) -> pic_chip& { return line < 8 ? master_ : slave_; }
    [[nodiscard]] constexpr auto slave_requests() const -> bool { return slave_.highest(false) != pic_chip::none; }

    /// A read that is not of the mask. A poll acknowledges.
    [[nodiscard, gnu::noinline]] constexpr auto read_chip(auto& context, std::uint16_t port) -> std::uint8_t {
        auto const value = port < slave_port ? master_.read(slave_requests()) : slave_.read(false);
        update(context);
        return value;
    }

    constexpr auto take() -> std::uint8_t {
        auto const input = master_.highest(slave_requests());
        if (input == pic_chip::none)
            return master_.vector(pic_chip::spurious);
        auto const from_slave = slave_.highest(false);
        master_.acknowledge(input);
        if (input != pic_chip::slave_input)
            return master_.vector(input);
        slave_.acknowledge(from_slave);
        return slave_.vector(from_slave);
    }
    constexpr void update(auto& context) {
        auto const level = master_.highest(slave_requests()) != pic_chip::none;
        if (level != output_)
            context.set_interrupt_request(output_ = level);
    }

    pic_chip master_{};
    pic_chip slave_{};
    bool output_{};
};
static_assert(device<pic_8259> and port_device<pic_8259> and saveable<pic_8259>);

} // namespace hv
