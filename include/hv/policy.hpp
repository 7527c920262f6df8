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

/// Who plays the local APIC while the guest runs.
enum class apic_policy : std::uint8_t {
    emulated,   ///< the device alone: each access exits
    virtualised ///< the processor: it answers, takes EOI and priorities, and delivers without an exit where it can
};

} // namespace hv
