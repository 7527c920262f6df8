// SPDX-License-Identifier: BSD-2-Clause
#include "host.hpp"

/// Here an image arrives that has one processor only; one with several brings its own.
extern "C" void hv_bare_serve_processor_timer() {}
