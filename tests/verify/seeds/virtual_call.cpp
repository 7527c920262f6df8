// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

struct device {
    virtual auto read() -> bool = 0;
};
device* volatile chosen{};

auto serve(unsigned long) -> bool {
    return chosen->read() and state != 0;
}
