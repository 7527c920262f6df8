// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/machine.hpp>
#include <bench/pointers/backend.hpp>
#include <bench/pointers/board.hpp>
#include <bench/pointers/coarse_backend.hpp>

#include <hv/policy.hpp>
#include <kernel_glue/bare/host.hpp>

/// The bench's pc with every decision that a machine makes at compile time made at run time, through pointers.
struct pc_bench_pointers : pc_bench {
    using backend = hv::pointers::pointer_backend<pc_bench::backend, hv::bare::host>;
    using devices = hv::pointers::registered_devices<pc_bench::devices>;
};
static_assert(pc_bench_pointers::mitigations == hv::mitigation_policy::none,
              "a backend behind a table of functions knows no machine, and would leave the mitigations out");

/// The same, but for registers and events, which are the backend's as before.
struct pc_bench_coarse : pc_bench_pointers {
    using backend = hv::pointers::coarse_backend<pc_bench::backend, hv::bare::host>;
};
