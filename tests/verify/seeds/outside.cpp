// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

extern "C" void outside();

auto serve(unsigned long exit) -> bool {
    outside();
    return exit != 0;
}
