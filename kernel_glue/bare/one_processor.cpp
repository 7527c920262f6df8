// SPDX-License-Identifier: BSD-2-Clause
#include "host.hpp"

/// Here an image arrives that has one processor only; one with several brings its own.
extern "C" void hv_bare_serve_processor(std::uint8_t) {}
extern "C" void hv_bare_stop_other_processors() {}
