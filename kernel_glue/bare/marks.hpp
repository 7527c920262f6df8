// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv::bare {

/// Finds the lines `hv-guest: mark A` … `mark Z` in what a guest prints and notes the TSC when each came: the image's
/// own clock judges the guest's.
class console_marks {
  public:
    static constexpr std::size_t letters{26};

    template <typename Host>
    constexpr void put(std::uint8_t byte, Host const& host) {
        if (matched_ == pattern.size()) {
            if (byte >= 'A' and byte <= 'Z')
                tsc_[byte - 'A'] = host.tsc();
            matched_ = 0;
        } else if (byte == static_cast<std::uint8_t>(pattern[matched_])) {
            ++matched_;
        } else {
            matched_ = byte == static_cast<std::uint8_t>(pattern[0]) ? 1 : 0;
        }
    }

    /// The host's TSC when the mark was seen; 0 if it was not.
    [[nodiscard]] constexpr auto at(char letter) const -> std::uint64_t {
        return tsc_[static_cast<std::size_t>(letter - 'A')];
    }

  private:
    static constexpr std::string_view pattern{"hv-guest: mark "};
    std::size_t matched_{};
    std::array<std::uint64_t, letters> tsc_{};
};

} // namespace hv::bare
