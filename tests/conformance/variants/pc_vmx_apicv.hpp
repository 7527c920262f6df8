// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/pc/pc.hpp>

/// The pc whose local APIC the processor runs.
struct pc_vmx_apicv : pc_vmx {
    static constexpr hv::apic_policy apic{hv::apic_policy::virtualised};
};

/// The same with several processors, which give way in spin locks like those of pc_smp.
struct pc_vmx_apicv_smp : pc_vmx_apicv {
    static constexpr unsigned max_vcpus{8};
    static constexpr hv::pause_policy pause{hv::pause_policy::loop_exits};
};
