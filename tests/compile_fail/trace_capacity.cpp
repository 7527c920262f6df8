// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: trace_ring: the capacity is a power of two
#include "machine_under_test.hpp"

struct machine : sound_machine {
    using trace = hv::trace_ring<1000>;
};
machine::trace ring;
