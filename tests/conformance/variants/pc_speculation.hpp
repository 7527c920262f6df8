// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/pc/pc.hpp>

/// The pc whose guests have IA32_SPEC_CTRL and its like, where the processor does: Bochs's model of Tiger Lake.
struct pc_speculation : pc {
    using cpuid = hv::speculation_cpuid_profile<hv::default_cpuid_profile>;
};

/// The same machine on Intel's processors.
struct pc_vmx_speculation : pc_speculation {
    using backend = hv::vmx;
};
