// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "seed.hpp"

unsigned long volatile state{};

extern "C" void _start() {
    hv::vcpu<hv::machine>::run();
    for (;;)
        asm volatile("hlt");
}
