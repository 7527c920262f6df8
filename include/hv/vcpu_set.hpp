// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <type_traits>

namespace hv {

/// A set of a machine's virtual processors, by number: 0 to `Most` - 1. `Shared`: several threads change it and look at
/// it, and see its changes in one order with all else that they change so.
template <unsigned Most, bool Shared>
class vcpu_set {
  public:
    /// False if it was in already.
    auto add(std::uint32_t id) -> bool {
        auto& word = words_[id / 64];
        if constexpr (Shared) {
            return (word.fetch_or(bit(id)) & bit(id)) == 0;
        } else {
            bool const was_in{has(id)};
            word |= bit(id);
            return not was_in;
        }
    }
    /// False if it was not in.
    auto remove(std::uint32_t id) -> bool {
        auto& word = words_[id / 64];
        if constexpr (Shared) {
            return (word.fetch_and(~bit(id)) & bit(id)) != 0;
        } else {
            bool const was_in{has(id)};
            word &= ~bit(id);
            return was_in;
        }
    }
    void clear() {
        for (auto& word : words_)
            word = 0;
    }

    [[nodiscard]] auto has(std::uint32_t id) const -> bool { return (words_[id / 64] & bit(id)) != 0; }
    /// Calls `what` with the number of each that is in, from the lowest on.
    void for_each(auto&& what) const {
        if constexpr (Most == 1) {
            if (has(0))
                what(0);
            return;
        }
        for (std::uint32_t first{0}; first < Most; first += 64)
            for (std::uint64_t rest{words_[first / 64]}; rest != 0; rest &= rest - 1)
                what(first + static_cast<std::uint32_t>(std::countr_zero(rest)));
    }
    /// The lowest that is in; 0 if none is.
    [[nodiscard]] auto first() const -> std::uint32_t {
        if constexpr (Most == 1)
            return 0;
        for (std::uint32_t from{0}; from < Most; from += 64)
            if (std::uint64_t const word{words_[from / 64]}; word != 0)
                return from + static_cast<std::uint32_t>(std::countr_zero(word));
        return 0;
    }
    /// Behind the highest that is in.
    [[nodiscard]] auto end() const -> std::uint32_t {
        if constexpr (Most == 1)
            return has(0) ? 1 : 0;
        std::uint32_t behind{0};
        for (std::uint32_t first{0}; first < Most; first += 64)
            if (std::uint64_t const word{words_[first / 64]}; word != 0)
                behind = first + static_cast<std::uint32_t>(std::bit_width(word));
        return behind;
    }

  private:
    [[nodiscard]] static constexpr auto bit(std::uint32_t id) -> std::uint64_t { return std::uint64_t{1} << id % 64; }

    std::array<std::conditional_t<Shared, std::atomic<std::uint64_t>, std::uint64_t>, (Most + 63) / 64> words_{};
};

} // namespace hv
