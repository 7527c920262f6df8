// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/interrupt.hpp>

namespace hv {

/// The interrupt output of a device that holds a level: it asserts its line once and takes that back once, however
/// often the device computes the level.
class output_pin {
  public:
    constexpr void drive(auto& context, irq_line line, bool level) {
        if (level == level_)
            return;
        level_ = level;
        if (level)
            context.raise(line);
        else
            context.lower(line);
    }

    /// Takes over a level without telling anybody: after a restore, the interrupt controllers bring their own record
    /// of the lines that are asserted.
    constexpr void assume(bool level) { level_ = level; }

    [[nodiscard]] constexpr auto level() const -> bool { return level_; }

  private:
    bool level_{};
};

} // namespace hv
