// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv {

/// How a guest reads time from its TSC.
enum class tsc_policy : std::uint8_t {
    offset, ///< the host's counter plus a constant
    scaled, ///< the host's counter, scaled by the processor: a guest keeps its frequency on another host
    trapped ///< RDTSC exits and is computed from the host's clock: the same without hardware for it
};

} // namespace hv
