// SPDX-License-Identifier: BSD-2-Clause
#include "entry_checks.hpp"

#include <examples/pc/pc.hpp>

auto image_main(hv::bare::host& host, hv::bare::boot_information const& boot) -> int {
    return hv::test::prove_entry_checks<pc_vmx>(host, boot);
}
