// SPDX-License-Identifier: BSD-2-Clause
#include <bench/pointers/board.hpp>
#include <bench/pointers/coarse_backend.hpp>
#include <bench/replay/replay.hpp>
#include <examples/pc/pc.hpp>

namespace {

/// The pc with tables of functions for entries, exits and devices, but not for registers.
struct pc_replay_coarse : pc {
    using backend = hv::pointers::coarse_backend<hv::replay::backend, hv::replay::host>;
    using devices = hv::pointers::registered_devices<pc::devices>;
};

} // namespace

auto main(int argc, char** argv) -> int {
    return hv::replay::main<pc_replay_coarse>(argc, argv);
}
