// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm.hpp>
#include <hv/devices/debug_port.hpp>
#include <hv/devices/exit_port.hpp>
#include <hv/vmm.hpp>

/// The smallest machine that can say something: a port to print on, a port to end by, nothing else.
struct minimal : hv::default_machine {
    using backend = hv::svm;
    using devices = hv::device_set<hv::debug_port, hv::exit_port>;
    static constexpr bool save_restore{false};
};
