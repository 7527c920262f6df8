// SPDX-License-Identifier: BSD-2-Clause
// What two_objects calls.
auto (*volatile handler)(unsigned long) -> bool{};

auto elsewhere(unsigned long exit) -> bool {
    return handler(exit) and exit != 1;
}
