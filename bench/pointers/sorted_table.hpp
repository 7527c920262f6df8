// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv::pointers {

/// Handlers of number ranges that are registered at run time, sorted, and found by binary search. A handler has
/// `first` and `end`.
template <typename Handler>
class sorted_table {
  public:
    static constexpr std::size_t capacity{64};

    void clear() { count_ = 0; }

    /// False if there is no room or the range meets another one.
    [[nodiscard]] auto add(Handler const& handler) -> bool {
        if (count_ == capacity)
            return false;
        std::size_t at{count_};
        while (at != 0 and handler.first < handlers_[at - 1].first)
            --at;
        if ((at != 0 and handler.first < handlers_[at - 1].end) or (at != count_ and handlers_[at].first < handler.end))
            return false;
        for (std::size_t i{count_}; i != at; --i)
            handlers_[i] = handlers_[i - 1];
        handlers_[at] = handler;
        ++count_;
        return true;
    }

    /// The handler of the range that holds `number`; null if there is none.
    [[nodiscard]] auto find(std::uint64_t number) const -> Handler const* {
        std::size_t low{0}, high{count_};
        while (low != high) {
            auto const middle = low + (high - low) / 2;
            auto const& handler = handlers_[middle];
            if (number < handler.first)
                high = middle;
            else if (number >= handler.end)
                low = middle + 1;
            else
                return &handler;
        }
        return nullptr;
    }

  private:
    std::array<Handler, capacity> handlers_{};
    std::size_t count_{};
};

} // namespace hv::pointers
