// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <cstdint>

namespace hv::bare {

/// How far the time-stamp counter of one processor is ahead of another's, and how sure that is.
struct tsc_difference {
    std::int64_t ahead{};   ///< 0 where that is possible at all: processors reset together count alike
    std::uint64_t spread{}; ///< the true difference lies within so many ticks
    bool constant{true};    ///< false: no one difference explains all readings; the counters run unlike
};

/// What two processors compare their counters by: one asks, the other answers with its reading, which was taken after
/// the question was asked and before the answer came. The best of many rounds counts.
class alignas(64) tsc_exchange {
  public:
    static constexpr std::uint32_t rounds{64};

    /// The side whose counter the other's is compared with. `read` is ordered with what stands before and behind it;
    /// false if `gave_up` says so before the other answers.
    [[nodiscard]] auto compare(auto&& read, auto&& gave_up, tsc_difference& found) -> bool {
        std::int64_t least{INT64_MIN}, most{INT64_MAX};
        bool answered{true};
        for (std::uint32_t round{1}; round <= rounds and answered; ++round) {
            auto const before = read();
            asked_.store(round, std::memory_order_release);
            while (answered_.load(std::memory_order_acquire) != round) {
                if (gave_up()) {
                    answered = false;
                    break;
                }
                asm volatile("pause");
            }
            auto const after = read();
            if (not answered)
                break;
            auto const low = static_cast<std::int64_t>(reading_ - after);
            auto const high = static_cast<std::int64_t>(reading_ - before);
            least = low > least ? low : least;
            most = high < most ? high : most;
        }
        if (answered) {
            found.constant = least <= most;
            found.spread = static_cast<std::uint64_t>(found.constant ? most - least : least - most);
            found.ahead = least <= 0 and most >= 0 ? 0 : least + (most - least) / 2;
        }
        asked_.store(over, std::memory_order_release); // the other may read what was found
        return answered;
    }

    /// The other side, until the first has enough.
    void answer(auto&& read) {
        std::uint32_t round{0};
        for (;;) {
            auto const asked = asked_.load(std::memory_order_acquire);
            if (asked == over)
                return;
            if (asked == round) {
                asm volatile("pause");
                continue;
            }
            round = asked;
            reading_ = read();
            answered_.store(round, std::memory_order_release);
        }
    }

  private:
    static constexpr std::uint32_t over{UINT32_MAX};

    std::atomic<std::uint32_t> asked_{0};
    std::uint64_t reading_{};
    alignas(64) std::atomic<std::uint32_t> answered_{0};
};

} // namespace hv::bare
