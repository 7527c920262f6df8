// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/time.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// What a virtual processor spends its time with, as its users count it. The names are the reference interface's.
enum class user_state : std::uint8_t {
    init,     ///< it has not run yet, or its machine has stopped
    run,      ///< in the guest
    idle,     ///< it halts, or waits for INIT or start-up
    emu_kern, ///< `vcpu::run` serves an exit
    emu_user, ///< its caller does, or does not run it
    sched     ///< another has the host's processor
};
inline constexpr std::size_t user_state_count{6};

/// The state, and how long it was in each. Off there is nothing of it.
template <bool On>
class user_times {
  public:
    void start(nanoseconds) {}
    void change(user_state, nanoseconds) {}
};
template <>
class user_times<true> {
  public:
    /// Begins anew in `init`.
    constexpr void start(nanoseconds now) {
        *this = {};
        since_ = now;
    }
    constexpr void change(user_state to, nanoseconds now) {
        spent_[number(state_)] += now - since_;
        since_ = now;
        state_ = to;
    }
    [[nodiscard]] constexpr auto state() const -> user_state { return state_; }
    /// Up to `now`, in nanoseconds.
    [[nodiscard]] constexpr auto spent(user_state in, nanoseconds now) const -> nanoseconds {
        return spent_[number(in)] + (in == state_ ? now - since_ : 0);
    }

  private:
    [[nodiscard]] static constexpr auto number(user_state s) -> std::size_t { return static_cast<std::size_t>(s); }

    std::array<nanoseconds, user_state_count> spent_{};
    nanoseconds since_{};
    user_state state_{user_state::init};
};

} // namespace hv
