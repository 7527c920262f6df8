// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

[[gnu::noinline]] auto odd(unsigned long n) -> bool;
[[gnu::noinline]] auto even(unsigned long n) -> bool {
    return n == 0 or not odd(n - 1);
}
auto odd(unsigned long n) -> bool {
    state = n;
    return n != 0 and not even(n - 1);
}

auto serve(unsigned long exit) -> bool {
    return even(exit) and state != 0;
}
