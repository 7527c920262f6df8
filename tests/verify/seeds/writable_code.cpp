// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto serve(unsigned long exit) -> bool {
    return exit != 0;
} // linked with -N: one segment, all rights
