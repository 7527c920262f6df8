// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/time.hpp>

#include <cstdint>

namespace hv {

/// The timer of a local APIC, without its LVT entry's vector and mask. SDM Vol. 3A, "APIC Timer". A masked timer counts
/// on; so does one whose APIC is software-disabled.
class lapic_timer {
  public:
    /// Rate of the undivided clock in Hz.
    static constexpr std::uint64_t frequency{1u << 27};

    /// The LVT's timer mode field.
    enum class mode : std::uint8_t { one_shot = 0, periodic = 1, tsc_deadline = 2, reserved = 3 };

    [[nodiscard]] constexpr auto current_mode() const -> mode { return mode_; }
    [[nodiscard]] constexpr auto initial_count() const -> std::uint32_t { return initial_; }
    [[nodiscard]] constexpr auto divide_configuration() const -> std::uint32_t { return divide_; }
    /// IA32_TSC_DEADLINE: 0 unless armed in TSC-deadline mode.
    [[nodiscard]] constexpr auto tsc_deadline() const -> std::uint64_t { return tsc_deadline_; }
    [[nodiscard]] constexpr auto deadline() const -> instant { return deadline_; }

    /// One-shot and periodic share the running count; entering or leaving any other mode disarms.
    constexpr void set_mode(mode m) {
        if (not(counts(mode_) and counts(m)) and m != mode_) {
            disarm();
            initial_ = 0;
        }
        mode_ = m;
    }

    /// Starts to count down; 0 stops. Ignored unless one-shot or periodic.
    constexpr void set_initial_count(instant now, std::uint32_t count) {
        if (not counts(mode_))
            return;
        initial_ = count;
        if (count != 0)
            start(now, count);
        else
            disarm();
    }

    /// A running timer keeps its count and goes on at the new rate.
    constexpr void set_divide_configuration(instant now, std::uint32_t value) {
        auto const left = current_count(now);
        divide_ = value & divide_bits;
        if (not counts(mode_) or deadline_ == never)
            return;
        if (now < deadline_)
            start(now, left);
        else
            begin_at(deadline_); // due, and still to be served
    }

    /// A write to IA32_TSC_DEADLINE; 0 disarms. Ignored in the other modes.
    constexpr void set_tsc_deadline(auto& context, std::uint64_t tsc) {
        if (mode_ != mode::tsc_deadline)
            return;
        tsc_deadline_ = tsc;
        tsc_changed(context);
    }

    /// The guest's TSC and the clock were set against each other: find the deadline anew.
    constexpr void tsc_changed(auto& context) {
        if (mode_ == mode::tsc_deadline)
            deadline_ = tsc_deadline_ != 0 ? context.instant_of_tsc(tsc_deadline_) : never;
    }

    [[nodiscard]] constexpr auto current_count(instant now) const -> std::uint32_t {
        if (not counts(mode_) or deadline_ == never)
            return 0;
        if (now < deadline_)
            return ticks_left(deadline_ - now);
        if (mode_ == mode::one_shot)
            return 0;
        return static_cast<std::uint32_t>(initial_ - ticks_in(now - deadline_, rate()) % initial_);
    }

    /// Whether the timer fired. A periodic timer that is late by whole periods has lost them: it fires once and counts
    /// a full period from now, so that a guest that was stopped does not meet a burst.
    [[nodiscard]] constexpr auto expire(instant now) -> bool {
        if (now < deadline_ or deadline_ == never)
            return false;
        if (mode_ != mode::periodic) {
            disarm();
            return true;
        }
        // Ticks are counted from the load, so that rounding to nanoseconds does not add up over the periods.
        ticks_ += initial_;
        deadline_ = loaded_ + time_for(ticks_, rate());
        if (deadline_ <= now)
            start(now, initial_);
        return true;
    }

    /// Takes over a saved timer. `target` is the deadline in nanoseconds, 0 if the timer was not armed; a count of 0
    /// is never armed.
    constexpr void restore(mode m, std::uint32_t count, std::uint32_t divide, nanoseconds target) {
        *this = {};
        mode_ = m;
        divide_ = divide & divide_bits;
        if (not counts(m))
            return;
        initial_ = count;
        if (count == 0 or target == 0)
            return;
        // Bounded such that no later sum overflows; a deadline before the first nanosecond is as good as the first.
        constexpr nanoseconds last{INT64_MAX / 2};
        begin_at({target < 1 ? 1 : target > last ? last : target});
    }

    [[nodiscard]] static constexpr auto counts(mode m) -> bool { return m == mode::one_shot or m == mode::periodic; }

    static constexpr std::uint32_t divide_bits{0b1011};

  private:
    /// Rate in Hz behind the divider: bits 3, 1, 0 mean 2, 4, … 128, and 1.
    [[nodiscard]] constexpr auto rate() const -> std::uint64_t {
        auto const code = (divide_ & 3) | (divide_ >> 1 & 4);
        return frequency >> ((code + 1) & 7);
    }

    /// Ticks that still have to come, rounded up: the count reaches 0 with the interrupt, not before.
    [[nodiscard]] constexpr auto ticks_left(nanoseconds d) const -> std::uint32_t {
        auto const whole = ticks_in(d, rate());
        auto const left = whole + (time_for(whole, rate()) < d ? 1 : 0);
        return left < initial_ ? static_cast<std::uint32_t>(left) : initial_;
    }

    constexpr void start(instant now, std::uint32_t count) {
        loaded_ = now;
        ticks_ = count;
        deadline_ = now + time_for(ticks_, rate());
    }
    /// Armed for an instant at which the next period starts, too.
    constexpr void begin_at(instant at) {
        loaded_ = deadline_ = at;
        ticks_ = 0;
    }
    constexpr void disarm() {
        deadline_ = never;
        tsc_deadline_ = 0;
    }

    mode mode_{mode::one_shot};
    std::uint32_t initial_{};
    std::uint32_t divide_{};
    instant loaded_{};      ///< the deadline is `ticks_` after it
    std::uint64_t ticks_{}; ///< grows by the initial count with each period
    instant deadline_{never};
    std::uint64_t tsc_deadline_{};
};

} // namespace hv
