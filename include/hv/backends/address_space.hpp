// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::backends {

/// The tags of translations that one processor has: ASIDs or VPIDs. A tag is given out once in a generation; when all
/// are used, a new generation begins with a flush of everything and all earlier tags are void. Tag 0 is the host's. APM
/// Vol. 2, "Address Space Identifier"; SDM Vol. 3C, "Virtual Processor Identifiers (VPIDs)".
class address_spaces {
  public:
    struct grant {
        std::uint32_t tag{};
        std::uint64_t generation{};
        bool flush_all{}; ///< at the entry that first uses the tag
    };

    /// `count` is how many there are, the host's own included: at least 2.
    constexpr void start(std::uint32_t count) {
        count_ = count;
        next_ = count;
    }

    [[nodiscard]] constexpr auto take() -> grant {
        auto const used_up = next_ >= count_;
        if (used_up) {
            ++generation_;
            next_ = 1;
        }
        return {next_++, generation_, used_up};
    }
    [[nodiscard]] constexpr auto generation() const -> std::uint64_t { return generation_; }

  private:
    std::uint32_t count_{2};
    std::uint32_t next_{2};
    std::uint64_t generation_{};
};

} // namespace hv::backends
