// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

struct noisy {
    noisy() { state = 1; }
} volatile instance;

auto serve(unsigned long exit) -> bool {
    return exit != 0;
}
