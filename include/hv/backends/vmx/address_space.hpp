// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::backends::vmx {

/// VPIDs are 16 bits wide. SDM Vol. 3C, "Virtual Processor Identifiers (VPIDs)".
inline constexpr std::uint32_t vpid_count{0x10000};

/// The VPIDs of one processor. A VPID is given out once in a generation; when all are used, a new generation begins
/// with a flush of everything and all earlier VPIDs are void. VPID 0 is the host's.
class address_spaces {
  public:
    struct grant {
        std::uint16_t vpid{};
        std::uint64_t generation{};
        bool flush_all{}; ///< before the entry that first uses the VPID
    };

    /// `count` is how many there are, the host's own included: 2 to vpid_count.
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
        return {static_cast<std::uint16_t>(next_++), generation_, used_up};
    }
    [[nodiscard]] constexpr auto generation() const -> std::uint64_t { return generation_; }

  private:
    std::uint32_t count_{2};
    std::uint32_t next_{2};
    std::uint64_t generation_{};
};

/// Operands of INVEPT and INVVPID. SDM Vol. 3C, "INVEPT" and "INVVPID".
enum class invept_type : std::uint64_t { single_context = 1, all_contexts = 2 };
enum class invvpid_type : std::uint64_t { single_context = 1, all_contexts = 2 };

} // namespace hv::backends::vmx
