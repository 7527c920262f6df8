// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: the host does not model hv::host
#include "machine_under_test.hpp"

struct no_host {};
void f() {
    no_host host{};
    hv::vmm<sound_machine, no_host> monitor{host};
}
