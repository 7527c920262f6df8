// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/replay/recorder.hpp>
#include <examples/pc/pc.hpp>

/// The pc, writing down each of its exits for bench/replay.
struct pc_record : pc {
    using handlers = hv::exit_chain<hv::replay::recorder>;
};
