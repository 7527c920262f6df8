// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

void (*volatile handler)(){};

// Called from a section of its own, by a jump.
[[gnu::noinline, gnu::section(".text.elsewhere")]] auto tail(unsigned long exit) -> bool {
    handler();
    return exit != state;
}

auto serve(unsigned long exit) -> bool {
    state = exit;
    return tail(exit);
}
