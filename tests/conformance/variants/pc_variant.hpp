// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/pc/pc.hpp>

/// The pc with every policy at its other value: what the guest sees must not change.
struct pc_variant : pc {
    static constexpr hv::tsc_policy tsc{hv::tsc_policy::trapped};
    static constexpr std::uint64_t tsc_frequency{800'000'000};
    static constexpr hv::fill memory_fill{hv::fill::on_fault};
    static constexpr hv::pause_policy pause{hv::pause_policy::exits};
    static constexpr hv::descriptor_table_policy descriptor_tables{hv::descriptor_table_policy::exits};
    static constexpr std::array direct_msrs{hv::x86::msr::ia32_fs_base, hv::x86::msr::ia32_gs_base,
                                            hv::x86::msr::ia32_kernel_gs_base};
    static constexpr hv::mitigation_policy mitigations{hv::mitigation_policy::none};
    static constexpr bool halt_detection{false};
    using trace = hv::trace_ring<256>;
};

/// The same machine on Intel's processors.
struct pc_vmx_variant : pc_variant {
    using backend = hv::vmx;
};
