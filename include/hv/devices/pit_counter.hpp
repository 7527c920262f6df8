// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>

#include <cstdint>

namespace hv {

/// One counter of an 8254. Its clock never stops, so a moment is the number of a clock cycle since the machine was
/// created; what the guest sees is computed from the cycle of the last load when it looks. A call may bring a cycle a
/// little before the last one's, from a processor whose clock is behind: a count then stands at its beginning. Intel
/// 8254 datasheet, "Mode Definitions" and "Operation Common to All Modes".
class pit_counter {
  public:
    using cycle = std::int64_t;
    static constexpr std::uint64_t frequency{1193182};
    static constexpr cycle no_cycle{INT64_MAX};

    [[nodiscard]] static constexpr auto cycle_at(instant t) -> cycle {
        return t < instant{} ? 0 : static_cast<cycle>(ticks_in(t - instant{}, frequency));
    }
    [[nodiscard]] static constexpr auto start_of(cycle c) -> instant {
        return c == no_cycle ? never : instant{} + time_for(static_cast<std::uint64_t>(c), frequency);
    }

    /// A control word for this counter: bits 5:4 say how the count is accessed and are not 0 (that is a latch command).
    constexpr void program(std::uint8_t control) {
        auto const gate = gate_;
        *this = {};
        control_ = control & control_mask;
        gate_ = gate;
    }

    /// A byte of the initial count.
    constexpr void write(std::uint8_t byte, cycle now) {
        if (access() == low_byte) {
            count_register_ = byte;
        } else if (access() == high_byte) {
            count_register_ = static_cast<std::uint16_t>(byte << 8);
        } else if (not write_high_) {
            count_register_ = static_cast<std::uint16_t>((count_register_ & 0xff00) | byte);
            write_high_ = true;
            if (mode() == 0)
                phase_ = phase::no_count; // the first byte stops the counter and takes OUT low
            return;
        } else {
            count_register_ = static_cast<std::uint16_t>((count_register_ & 0x00ff) | byte << 8);
            write_high_ = false;
        }
        count_written(now);
    }

    /// A byte of the latched status, the latched count or the count, whichever is due.
    [[nodiscard]] constexpr auto read(cycle now) -> std::uint8_t {
        if (status_latched_) {
            status_latched_ = false;
            return status_latch_;
        }
        auto const value = output_latched_ ? output_latch_ : count(now);
        auto& high_is_next = output_latched_ ? latch_high_ : read_high_;
        auto const high = access() == high_byte or (access() == both_bytes and high_is_next);
        if (access() == both_bytes)
            high_is_next = not high_is_next;
        if (access() != both_bytes or high)
            output_latched_ = false;
        return static_cast<std::uint8_t>(high ? value >> 8 : value);
    }

    /// A latched count or status stays until it is read; another latch command before that has no effect.
    constexpr void latch_count(cycle now) {
        if (output_latched_)
            return;
        output_latch_ = count(now);
        output_latched_ = true;
        latch_high_ = false;
    }
    [[nodiscard]] constexpr auto holds_count() const -> bool { return output_latched_; }
    constexpr void latch_status(cycle now) {
        if (status_latched_)
            return;
        status_latch_ = static_cast<std::uint8_t>((output(now) ? 0x80 : 0) | (null_count(now) ? 0x40 : 0) | control_);
        status_latched_ = true;
    }

    /// The GATE input. Its level enables counting in modes 0, 2, 3 and 4, its rising edge starts modes 1, 2, 3 and 5.
    constexpr void set_gate(bool level, cycle now) {
        if (level == gate_)
            return;
        advance(now);
        gate_ = level;
        auto const has_count = count_pending_ or phase_ != phase::no_count;
        if (level and is_triggered() and has_count) {
            load(now);
        } else if (level and phase_ == phase::suspended) {
            origin_ = now - origin_;
            phase_ = phase::counting;
        } else if (not level and phase_ == phase::counting and mode() != 1 and mode() != 5) {
            origin_ = elapsed(now);
            phase_ = phase::suspended;
        }
    }
    [[nodiscard]] constexpr auto gate() const -> bool { return gate_; }

    /// Brings a periodic mode to the cycle `now`: a count that waits for the end of a period or half-period is loaded.
    constexpr void advance(cycle now) {
        if (phase_ != phase::counting or not is_periodic())
            return;
        if (count_pending_) {
            auto const boundary = origin_ + (reload_in_middle_ ? high_half(period()) : period());
            if (now < boundary)
                return;
            loaded_ = count_register_;
            count_pending_ = false;
            origin_ = boundary - (reload_in_middle_ ? high_half(period()) : 0);
            reload_in_middle_ = false;
        }
        if (now - origin_ >= period())
            origin_ = now - (now - origin_) % period();
    }

    /// Whether a count was loaded since the counter was programmed.
    [[nodiscard]] constexpr auto has_count() const -> bool { return phase_ != phase::no_count; }
    /// The OUT pin without one.
    [[nodiscard]] constexpr auto output_without_count() const -> bool { return (control_ & 0x0e) != 0; } // not mode 0
    /// The OUT pin. The counter has been advanced to `now`.
    [[nodiscard]] constexpr auto output(cycle now) const -> bool {
        if (not has_count())
            return output_without_count();
        auto const e = elapsed(now);
        switch (mode()) {
        case 0:
        case 1:
            return e >= period();
        case 2:
            return phase_ == phase::suspended or e != period() - 1;
        case 3:
            return phase_ == phase::suspended or e < high_half(period());
        default:
            return e != period();
        }
    }

    /// The first cycle after `now` at whose start OUT rises, or no_cycle.
    [[nodiscard]] constexpr auto rise_after(cycle now) const -> cycle {
        if (phase_ != phase::counting)
            return no_cycle;
        auto rise = origin_ + period();
        if (is_periodic()) {
            if (period() < 2)
                return no_cycle; // the datasheet forbids a count of 1; OUT never changes
            if (mode() == 3 and count_pending_ and reload_in_middle_)
                rise = origin_ + high_half(period()) + periods_of(count_register_) / 2;
        } else if (mode() == 4 or mode() == 5) {
            ++rise; // the strobe lasts one cycle
        }
        return rise > now ? rise : no_cycle;
    }
    [[nodiscard]] constexpr auto is_periodic() const -> bool { return mode() == 2 or mode() == 3; }
    /// The length of a period in cycles, or the count of the other modes.
    [[nodiscard]] constexpr auto period() const -> cycle { return periods_of(loaded_); }

    /// The saved form. `time_target` is the end of the count that runs, minus one minus the elapsed cycles while GATE
    /// suspends it, 0 while there is none. Above the reference's bits, `status` says that GATE is low (5), that a
    /// written count is not yet loaded (6); `mode` that this will happen in the middle of the period (6).
    static constexpr std::uint8_t saved_gate_low{1u << 5};
    static constexpr std::uint8_t saved_count_pending{1u << 6};
    static constexpr std::uint8_t saved_reload_in_middle{1u << 6};

    [[nodiscard]] constexpr auto save() const -> hv_pit_channel_v1 {
        hv_pit_channel_v1 image{};
        image.initial = loaded_;
        image.reg_cr = count_register_;
        image.reg_ol = output_latch_;
        image.reg_status = status_latch_;
        image.mode = static_cast<std::uint8_t>(control_ | (reload_in_middle_ ? saved_reload_in_middle : 0));
        image.status = static_cast<std::uint8_t>(
            (status_latched_ ? 1 : 0) | (output_latched_ ? 2 : 0) | (write_high_ ? 4 : 0) | (latch_high_ ? 8 : 0) |
            (read_high_ ? 16 : 0) | (gate_ ? 0 : saved_gate_low) | (count_pending_ ? saved_count_pending : 0));
        if (phase_ == phase::counting) {
            auto const end = origin_ + period();
            image.time_target = end > 0 ? start_of(end).since_creation : 1;
        } else if (phase_ == phase::suspended) {
            image.time_target = -1 - origin_;
        }
        return image;
    }

    /// Checks an image and takes it over, or answers why not and changes nothing. The owner has removed its own bits.
    [[nodiscard]] constexpr auto restore(hv_pit_channel_v1 const& image, cycle now) -> status {
        pit_counter c{};
        c.control_ = image.mode & control_mask;
        if ((c.control_ & both_bytes) == 0)
            c.control_ |= both_bytes; // the reference's counter that was never programmed
        c.loaded_ = image.initial;
        c.count_register_ = image.reg_cr;
        c.output_latch_ = image.reg_ol;
        c.status_latch_ = image.reg_status;
        c.status_latched_ = (image.status & 1) != 0;
        c.output_latched_ = (image.status & 2) != 0;
        c.write_high_ = (image.status & 4) != 0;
        c.latch_high_ = (image.status & 8) != 0;
        c.read_high_ = (image.status & 16) != 0;
        c.gate_ = (image.status & saved_gate_low) == 0;
        c.count_pending_ = (image.status & saved_count_pending) != 0;
        c.reload_in_middle_ = (image.mode & saved_reload_in_middle) != 0;
        if (((image.mode | image.status) & 0x80) != 0)
            return status::invalid_argument;
        if (c.reload_in_middle_ and (c.mode() != 3 or not c.count_pending_))
            return status::invalid_argument;
        if (c.access() != both_bytes and (c.write_high_ or c.latch_high_ or c.read_high_))
            return status::invalid_argument;
        if (image.time_target > 0) {
            c.phase_ = phase::counting;
            c.origin_ = cycle_at(instant{image.time_target}) - c.period();
            if (c.origin_ > now + 1 or (not c.gate_ and c.mode() != 1 and c.mode() != 5))
                return status::invalid_argument;
        } else if (image.time_target < 0) {
            c.phase_ = phase::suspended;
            c.origin_ = -(image.time_target + 1);
            if (c.gate_ or c.mode() == 1 or c.mode() == 5)
                return status::invalid_argument;
            if (c.is_periodic() ? c.origin_ >= c.period() : c.origin_ > now + 0x10000)
                return status::invalid_argument;
        }
        *this = c;
        return status::ok;
    }
    /// The cycle in which the present count was loaded; meaningful while it runs.
    [[nodiscard]] constexpr auto origin() const -> cycle { return origin_; }

  private:
    enum class phase : std::uint8_t { no_count, counting, suspended };
    static constexpr std::uint8_t control_mask{0x3f};
    static constexpr unsigned low_byte{0x10};
    static constexpr unsigned high_byte{0x20};
    static constexpr unsigned both_bytes{0x30};

    [[nodiscard]] constexpr auto access() const -> unsigned { return control_ & both_bytes; }
    /// Modes 6 and 7 are modes 2 and 3: their highest bit is not decoded.
    [[nodiscard]] constexpr auto mode() const -> unsigned {
        auto const m = control_ >> 1 & 7u;
        return m > 5 ? m - 4 : m;
    }
    [[nodiscard]] constexpr auto is_bcd() const -> bool { return (control_ & 1) != 0; }
    [[nodiscard]] constexpr auto is_triggered() const -> bool {
        return mode() == 1 or mode() == 2 or mode() == 3 or mode() == 5;
    }
    [[nodiscard]] constexpr auto modulus() const -> cycle { return is_bcd() ? 10000 : 0x10000; }
    /// The cycles that a count register stands for; 0 is the largest count. Digits above 9 count as their value.
    [[nodiscard]] constexpr auto periods_of(std::uint16_t raw) const -> cycle {
        if (raw == 0)
            return modulus();
        return is_bcd() ? (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15) : raw;
    }
    [[nodiscard]] static constexpr auto high_half(cycle n) -> cycle { return (n + 1) / 2; }

    /// Cycles since the counter was loaded.
    [[nodiscard]] constexpr auto elapsed(cycle now) const -> cycle {
        if (phase_ == phase::suspended)
            return origin_;
        return now > origin_ ? now - origin_ : 0;
    }

    /// Null count: what was written last is not yet what is counted.
    [[nodiscard]] constexpr auto null_count(cycle now) const -> bool {
        return count_pending_ or phase_ == phase::no_count or (phase_ == phase::counting and now < origin_);
    }

    /// The count register goes into the counter with the next clock cycle.
    constexpr void load(cycle now) {
        loaded_ = count_register_;
        count_pending_ = false;
        reload_in_middle_ = false;
        auto const counts = gate_ or mode() == 1 or mode() == 5;
        phase_ = counts ? phase::counting : phase::suspended;
        origin_ = counts ? now + 1 : 0;
    }

    constexpr void count_written(cycle now) {
        if (mode() == 0 or mode() == 4 or (is_periodic() and phase_ == phase::no_count))
            return load(now);
        // Modes 1 and 5 wait for the trigger, modes 2 and 3 for the end of the period or half-period.
        count_pending_ = true;
        reload_in_middle_ = mode() == 3 and phase_ == phase::counting and elapsed(now) < high_half(period());
    }

    /// The counting element as it is read.
    [[nodiscard, gnu::always_inline]] constexpr auto count(cycle now) const -> std::uint16_t {
        return has_count() ? count_that_runs(now) : loaded_;
    }
    [[nodiscard]] constexpr auto count_that_runs(cycle now) const -> std::uint16_t {
        auto const n = period();
        auto const e = elapsed(now);
        auto value = cycle{};
        if (mode() == 2) {
            value = n - e % n;
        } else if (mode() == 3) {
            // Counts down by two, twice a period; an odd count first loses its lowest bit.
            auto const in_half = e < high_half(n) ? e : e - high_half(n);
            value = (n & ~cycle{1}) - 2 * in_half;
        } else {
            value = n - e % modulus() + modulus(); // wraps and goes on after the terminal count
        }
        value %= modulus();
        if (not is_bcd())
            return static_cast<std::uint16_t>(value);
        return static_cast<std::uint16_t>(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                                          value % 10);
    }

    cycle origin_{}; ///< counting: the cycle of the load; suspended: cycles elapsed since it
    std::uint16_t count_register_{};
    std::uint16_t loaded_{};
    std::uint16_t output_latch_{};
    std::uint8_t status_latch_{};
    std::uint8_t control_{0x36}; // mode 3, both bytes: a counter nobody has programmed holds OUT high
    phase phase_{phase::no_count};
    bool gate_{true};
    bool count_pending_{};
    bool reload_in_middle_{};
    bool status_latched_{};
    bool output_latched_{};
    bool write_high_{};
    bool latch_high_{};
    bool read_high_{};
};

} // namespace hv
