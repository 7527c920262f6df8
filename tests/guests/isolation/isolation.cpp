// SPDX-License-Identifier: BSD-2-Clause
#include "isolation.hpp"

#include <examples/pc/pc.hpp>

/// VMSAVE and VMLOAD exchange everything at each exit.
using watched_pc = hv::test::watched<pc, 0>;

auto image_main(hv::bare::host& host, hv::bare::boot_information const& boot) -> int {
    return hv::test::prove_isolation<watched_pc>(host, boot);
}
