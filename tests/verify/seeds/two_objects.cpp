// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto elsewhere(unsigned long exit) -> bool;

auto serve(unsigned long exit) -> bool {
    return elsewhere(exit) and exit != 0;
}
