// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto serve(unsigned long exit) -> bool {
    unsigned char volatile much[5000];
    much[exit] = 1;
    return much[state] != 0;
}
