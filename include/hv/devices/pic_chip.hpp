// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// One 8259A with the edge/level control register that chipsets add, without its place in a cascade: a slave's INT
/// output is handed in where it matters. Intel 8259A datasheet, "Programming the 8259A".
class pic_chip {
  public:
    static constexpr int none{-1};
    static constexpr std::uint8_t spurious{7}; ///< the input that answers if no request is left at INTA
    static constexpr std::uint8_t slave_input{2};
    static constexpr std::uint8_t slave_bit{1u << slave_input};

    /// One more source asserts the input. Errors: too_big for one assertion too many.
    constexpr auto raise(unsigned input) -> status {
        if (assertions_[input] == UINT32_MAX)
            return status::too_big;
        if (++assertions_[input] == 1)
            edges_ |= static_cast<std::uint8_t>(bit(input) & ~level_);
        return status::ok;
    }
    /// One source takes its assertion back. Errors: out_of_range if none asserts it.
    constexpr auto lower(unsigned input) -> status {
        if (assertions_[input] == 0)
            return status::out_of_range;
        --assertions_[input];
        return status::ok;
    }

    [[nodiscard]] constexpr auto level_triggered() const -> std::uint8_t { return level_; }
    /// An input that becomes level-triggered forgets its edge; one that becomes edge-triggered waits for the next.
    constexpr void set_level_triggered(std::uint8_t inputs) {
        level_ = inputs;
        edges_ &= static_cast<std::uint8_t>(~level_);
    }

    /// IRR; `slave` is the INT output of the chip behind input 2, false where there is none.
    [[nodiscard]] constexpr auto requests(bool slave) const -> std::uint8_t {
        std::uint8_t high{};
        for (unsigned i{}; i < 8; ++i)
            high |= static_cast<std::uint8_t>(assertions_[i] != 0 ? bit(i) : 0);
        return static_cast<std::uint8_t>(edges_ | (high & level_) | (slave ? slave_bit : 0));
    }

    /// The input that the processor would be interrupted for, or none. Every input from the first in service on is
    /// blocked; a masked input in service does not block in special mask mode, and in special fully nested mode a slave
    /// in service does not block its own further requests.
    [[nodiscard]] constexpr auto highest(bool slave) const -> int {
        if (not ready_)
            return none;
        auto const wanted = static_cast<std::uint8_t>(requests(slave) & ~mask_);
        auto const blocking = static_cast<std::uint8_t>(special_mask_ ? service_ & ~mask_ : service_);
        for (unsigned i{1}; i <= 8; ++i) {
            auto const input = (lowest_priority_ + i) & 7;
            auto const nested = special_fully_nested_ and input == slave_input;
            if ((wanted & bit(input)) != 0 and ((blocking & bit(input)) == 0 or nested))
                return static_cast<int>(input);
            if ((blocking & bit(input)) != 0)
                return none;
        }
        return none;
    }

    /// INTA for the input that `highest` named.
    constexpr void acknowledge(int input) {
        auto const i = static_cast<unsigned>(input) & 7;
        edges_ &= static_cast<std::uint8_t>(~bit(i));
        if (not auto_eoi_)
            service_ |= bit(i);
        else if (rotate_)
            lowest_priority_ = static_cast<std::uint8_t>(i);
    }
    [[nodiscard]] constexpr auto vector(int input) const -> std::uint8_t {
        return static_cast<std::uint8_t>(base_ | (input & 7));
    }

    /// Whether the next read, of either port, is a poll.
    [[nodiscard]] constexpr auto polled() const -> bool { return poll_; }
    /// What the upper port reads, but for a poll.
    [[nodiscard]] constexpr auto mask() const -> std::uint8_t { return mask_; }
    /// A read of the lower port, or a poll. That is an INTA by software: the request goes into service.
    [[nodiscard]] constexpr auto read(bool slave) -> std::uint8_t {
        if (poll_) {
            poll_ = false;
            auto const input = highest(slave);
            if (input == none)
                return 0;
            acknowledge(input);
            return static_cast<std::uint8_t>(0x80 | input);
        }
        return read_service_ ? service_ : requests(slave);
    }

    constexpr void write(bool mask_port, std::uint8_t value) {
        if (mask_port) {
            if (awaited_ == 0)
                mask_ = value; // OCW1
            else
                initialize_further(value);
        } else if ((value & 0x10) != 0) {
            initialize(value);
        } else if ((value & 0x08) != 0) {
            command_3(value);
        } else {
            command_2(value);
        }
    }

    [[nodiscard]] constexpr auto save(bool slave, bool output) const -> hv_pic_chip_v1;
    [[nodiscard]] static constexpr auto is_consistent(hv_pic_chip_v1 const& image, std::uint8_t level_bits) -> bool;
    constexpr void restore(hv_pic_chip_v1 const& image);

  private:
    [[nodiscard]] static constexpr auto bit(unsigned input) -> std::uint8_t {
        return static_cast<std::uint8_t>(1u << input);
    }

    /// ICW1. Trigger mode (bit 3) is the edge/level control register's business on a PC.
    constexpr void initialize(std::uint8_t value) {
        edges_ = 0;
        service_ = 0;
        mask_ = 0;
        lowest_priority_ = 7;
        ready_ = auto_eoi_ = poll_ = rotate_ = special_fully_nested_ = read_service_ = special_mask_ = false;
        single_ = (value & 0x02) != 0;
        no_icw4_ = (value & 0x01) == 0;
        awaited_ = 1;
    }
    /// ICW2, ICW3, ICW4. SNGL only leaves out ICW3: the wires of the cascade stay. Without ICW4 the chip would be in
    /// MCS-80 mode, which no PC can use; it keeps answering with vectors.
    constexpr void initialize_further(std::uint8_t value) {
        if (awaited_ == 1) {
            base_ = value & 0xf8;
            awaited_ = single_ ? 3 : 2;
        } else if (awaited_ == 2) {
            awaited_ = 3; // ICW3 names the wires of the cascade, which do not change
        } else {
            auto_eoi_ = (value & 0x02) != 0;
            special_fully_nested_ = (value & 0x10) != 0;
            finish();
        }
        if (awaited_ == 3 and no_icw4_)
            finish();
    }
    constexpr void finish() {
        awaited_ = 0;
        ready_ = true;
    }

    /// OCW2: rotate 7, specific 6, end of interrupt 5, input 2:0.
    constexpr void command_2(std::uint8_t value) {
        auto const rotate = (value & 0x80) != 0;
        auto const specific = (value & 0x40) != 0;
        auto const input = static_cast<std::uint8_t>(value & 7);
        if ((value & 0x20) != 0) {
            auto const ended = specific ? int{input} : highest_in_service();
            if (ended == none)
                return;
            service_ &= static_cast<std::uint8_t>(~bit(static_cast<unsigned>(ended)));
            if (rotate)
                lowest_priority_ = static_cast<std::uint8_t>(ended);
        } else if (specific) {
            if (rotate)
                lowest_priority_ = input;
        } else {
            rotate_ = rotate; // in automatic EOI mode
        }
    }
    /// What a non-specific EOI ends. In special mask mode it does not see masked inputs.
    [[nodiscard]] constexpr auto highest_in_service() const -> int {
        auto const visible = special_mask_ ? service_ & ~mask_ : service_;
        for (unsigned i{1}; i <= 8; ++i)
            if (auto const input = (lowest_priority_ + i) & 7; (visible & bit(input)) != 0)
                return static_cast<int>(input);
        return none;
    }
    /// OCW3: special mask 6:5, poll 2, read register 1:0. A poll overrides the choice of register.
    constexpr void command_3(std::uint8_t value) {
        if ((value & 0x40) != 0)
            special_mask_ = (value & 0x20) != 0;
        if ((value & 0x04) != 0)
            poll_ = true;
        else if ((value & 0x02) != 0)
            read_service_ = (value & 0x01) != 0;
    }

    std::array<std::uint32_t, 8> assertions_{}; ///< sources that assert each input now
    std::uint8_t edges_{};                      ///< edge-triggered requests that wait
    std::uint8_t service_{};
    std::uint8_t mask_{};
    std::uint8_t level_{};
    std::uint8_t base_{};
    std::uint8_t lowest_priority_{7};
    std::uint8_t awaited_{}; ///< 1 to 3: ICW2 to ICW4 comes next; 0: none
    bool ready_{};
    bool auto_eoi_{};
    bool poll_{};
    bool rotate_{};
    bool special_fully_nested_{};
    bool read_service_{};
    bool special_mask_{};
    bool single_{};  ///< no ICW3 in this sequence
    bool no_icw4_{}; ///< no ICW4 in this sequence
};

namespace pic_status {
inline constexpr std::uint8_t ready{1u << 0};
inline constexpr std::uint8_t auto_eoi{1u << 1};
inline constexpr std::uint8_t poll{1u << 2};
inline constexpr std::uint8_t rotate{1u << 3};
inline constexpr std::uint8_t special_fully_nested{1u << 4};
inline constexpr std::uint8_t read_service{1u << 5};
inline constexpr std::uint8_t output{1u << 6};
inline constexpr std::uint8_t special_mask{1u << 7};
// Amid an initialisation sequence no mode can be on; these two say which words it leaves out.
inline constexpr std::uint8_t single{auto_eoi};
inline constexpr std::uint8_t no_icw4{special_fully_nested};
} // namespace pic_status

constexpr auto pic_chip::save(bool slave, bool output) const -> hv_pic_chip_v1 {
    namespace s = pic_status;
    auto const flag = [](bool on, std::uint8_t b) { return on ? unsigned{b} : 0; };
    auto const amid = awaited_ != 0;
    hv_pic_chip_v1 image{};
    image.icw_state = awaited_;
    image.status = static_cast<std::uint8_t>(
        flag(ready_, s::ready) | flag(auto_eoi_, s::auto_eoi) | flag(poll_, s::poll) | flag(rotate_, s::rotate) |
        flag(special_fully_nested_, s::special_fully_nested) | flag(read_service_, s::read_service) |
        flag(output, s::output) | flag(special_mask_, s::special_mask) | flag(amid and single_, s::single) |
        flag(amid and no_icw4_, s::no_icw4));
    image.reg_irr = requests(slave);
    image.reg_isr = service_;
    image.reg_imr = mask_;
    image.irq_base = base_;
    image.lowprio = lowest_priority_;
    image.elc = level_;
    for (unsigned i{}; i < 8; ++i)
        image.level[i] = assertions_[i];
    return image;
}

/// `level_bits` are the inputs that can be level-triggered.
constexpr auto pic_chip::is_consistent(hv_pic_chip_v1 const& image, std::uint8_t level_bits) -> bool {
    return image.icw_state <= 3 and (image.elc & ~level_bits) == 0 and image.lowprio <= 7 and
           (image.irq_base & 7) == 0 and (image.icw_state == 0 or (image.status & pic_status::ready) == 0);
}

constexpr void pic_chip::restore(hv_pic_chip_v1 const& image) {
    namespace s = pic_status;
    auto const has = [&image](std::uint8_t b) { return (image.status & b) != 0; };
    *this = {};
    awaited_ = image.icw_state;
    if (awaited_ != 0) {
        single_ = has(s::single);
        no_icw4_ = has(s::no_icw4);
    } else {
        auto_eoi_ = has(s::auto_eoi);
        special_fully_nested_ = has(s::special_fully_nested);
    }
    ready_ = has(s::ready);
    poll_ = has(s::poll);
    rotate_ = has(s::rotate);
    read_service_ = has(s::read_service);
    special_mask_ = has(s::special_mask);
    level_ = image.elc;
    edges_ = static_cast<std::uint8_t>(image.reg_irr & ~level_);
    service_ = image.reg_isr;
    mask_ = image.reg_imr;
    base_ = image.irq_base;
    lowest_priority_ = image.lowprio;
    for (unsigned i{}; i < 8; ++i)
        assertions_[i] = image.level[i];
}

} // namespace hv
