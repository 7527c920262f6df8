// SPDX-License-Identifier: BSD-2-Clause
#include <bench/replay/replay.hpp>
#include <examples/pc/pc.hpp>

namespace {

/// The pc as it is.
struct pc_replay : pc {
    using backend = hv::replay::backend;
};

} // namespace

auto main(int argc, char** argv) -> int {
    return hv::replay::main<pc_replay>(argc, argv);
}
