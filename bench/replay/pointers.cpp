// SPDX-License-Identifier: BSD-2-Clause
#include <bench/pointers/backend.hpp>
#include <bench/pointers/board.hpp>
#include <bench/replay/replay.hpp>
#include <examples/pc/pc.hpp>

namespace {

/// The pc with tables of functions in place of types.
struct pc_replay_pointers : pc {
    using backend = hv::pointers::pointer_backend<hv::replay::backend, hv::replay::host>;
    using devices = hv::pointers::registered_devices<pc::devices>;
};

} // namespace

auto main(int argc, char** argv) -> int {
    return hv::replay::main<pc_replay_pointers>(argc, argv);
}
