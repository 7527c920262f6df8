// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/memory/gpa_range.hpp>

#include <array>

namespace hv {

/// Where the guest sees devices of the host.
class device_windows {
  public:
    static constexpr unsigned most{8};

    [[nodiscard]] constexpr auto is_full() const -> bool { return count_ == most; }
    constexpr void add(gpa_range r) { ranges_[count_++] = r; }
    /// False if there is no such window.
    constexpr auto remove(gpa_range r) -> bool {
        for (unsigned i{}; i != count_; ++i)
            if (ranges_[i] == r) {
                ranges_[i] = ranges_[--count_];
                return true;
            }
        return false;
    }
    [[nodiscard]] constexpr auto contains(gpa address) const -> bool {
        for (unsigned i{}; i != count_; ++i)
            if (ranges_[i].contains(address))
                return true;
        return false;
    }
    [[nodiscard]] constexpr auto overlaps(gpa_range r) const -> bool {
        for (unsigned i{}; i != count_; ++i)
            if (ranges_[i].overlaps(r))
                return true;
        return false;
    }

  private:
    std::array<gpa_range, most> ranges_{};
    unsigned count_{};
};

} // namespace hv
