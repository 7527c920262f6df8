// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/pc/pc.hpp>

/// The pc whose TSC keeps a frequency of its own, where the processor can scale it and tell loops of PAUSE.
struct pc_scaled : pc {
    static constexpr hv::tsc_policy tsc{hv::tsc_policy::scaled};
    static constexpr std::uint64_t tsc_frequency{80'000'000};
    static constexpr hv::pause_policy pause{hv::pause_policy::loop_exits};
};

/// The same machine on Intel's processors.
struct pc_vmx_scaled : pc_scaled {
    using backend = hv::vmx;
};
