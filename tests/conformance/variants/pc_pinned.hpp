// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/pc/pc.hpp>

/// The pc of several processors, each on one of the host's.
struct pc_pinned : pc_smp {
    static constexpr hv::scheduling_policy scheduling{hv::scheduling_policy::pinned};
};
