// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::backends::vmx {

/// What the VMX-preemption timer is to count before it ends a guest's stay. Its value is computed at each entry and not
/// saved at exits: a saved one would leave out the time between two stays. SDM Vol. 3C, "VMX-Preemption Timer".
class preemption_timer {
  public:
    constexpr preemption_timer() = default;
    /// The timer counts when bit `shift` of the TSC changes.
    constexpr explicit preemption_timer(std::uint8_t shift)
        : below_{(std::uint64_t{1} << shift) - 1}, shift_{shift}, there_{true} {}

    [[nodiscard]] constexpr auto is_there() const -> bool { return there_; }

    /// Ends at `tsc`, or behind the first `ticks` of the next stay if that is later.
    constexpr void end_at(std::uint64_t tsc, std::uint32_t ticks) {
        end_ = tsc;
        least_ = ticks;
        end_count_ = (tsc >> shift_) + ((tsc & below_) != 0 ? 1 : 0);
        too_many_ = there_ and ticks == 0 ? std::uint64_t{1} << 32 : 0;
    }

    /// What the timer counts from now to the deadline.
    [[nodiscard]] constexpr auto count_to_end(std::uint64_t now) const -> std::uint64_t {
        return end_count_ - (now >> shift_);
    }
    /// Whether a stay with this count ends at the deadline itself, and the field can say so.
    [[nodiscard]] constexpr auto is_near(std::uint64_t count) const -> bool { return count < too_many_; }

    /// For any stay that begins now: not too few, and as many as fit into the field. 0 exits before the first
    /// instruction.
    [[nodiscard]] constexpr auto count_from(std::uint64_t now) -> std::uint32_t {
        auto const left = end_ > now ? end_ - now : 0;
        auto const ticks = left > least_ ? left : least_;
        end_at(end_, 0);
        if (ticks == 0)
            return 0;
        auto const edges = ticks > most ? most : ((now & below_) + ticks + below_) >> shift_;
        return static_cast<std::uint32_t>(edges < UINT32_MAX ? edges : UINT32_MAX);
    }

  private:
    static constexpr std::uint64_t most{UINT64_MAX / 2};

    std::uint64_t end_{UINT64_MAX}; ///< on the host's TSC
    std::uint64_t end_count_{};     ///< the same in units of the timer, rounded up
    std::uint64_t too_many_{};      ///< for count_to_end alone to say it
    std::uint64_t below_{};
    std::uint32_t least_{};
    std::uint8_t shift_{}; ///< 0 to 31
    bool there_{};
};

} // namespace hv::backends::vmx
