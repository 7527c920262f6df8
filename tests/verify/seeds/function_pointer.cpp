// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

auto (*volatile handler)(unsigned long) -> bool{};

auto serve(unsigned long exit) -> bool {
    return handler(exit) and exit != 0;
}
