// SPDX-License-Identifier: BSD-2-Clause
#include "isolation.hpp"

#include <examples/pc/pc.hpp>

/// A VMCS carries neither KERNEL_GS_BASE nor the registers of SYSCALL: they stay the guest's until its run ends. Until
/// then, too, the limits of GDTR and IDTR are those that each exit sets.
using watched_pc = hv::test::watched<pc_vmx, hv::test::host_registers::first_in_vmcs>;

auto image_main(hv::bare::host& host, hv::bare::boot_information const& boot) -> int {
    return hv::test::prove_isolation<watched_pc>(host, boot);
}
