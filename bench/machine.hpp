// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/pc/pc.hpp>

#include <hv/memory/mapping.hpp>
#include <hv/policy.hpp>

/// The pc as ./hv bench measures it: unknown hypercalls answer -1, and each page of 4 KiB is mapped when it is first
/// touched.
struct pc_bench : pc {
    static constexpr hv::mitigation_policy mitigations{hv::mitigation_policy::none};
    static constexpr bool hypercalls{true};
    static constexpr hv::fill memory_fill{hv::fill::on_fault};
    static constexpr hv::leaf_size largest_leaf{hv::leaf_size::four_kib};
};

/// The same machine on Intel's processors, for ./hv bench --backend vmx in Bochs.
struct pc_bench_vmx : pc_bench {
    using backend = hv::vmx;
};

/// The same with two processors, for what passes between them.
struct pc_bench_smp : pc_bench {
    static constexpr unsigned max_vcpus{2};
};

/// The same with what the processor needs against side channels of speculation: what mitigations cost.
struct pc_bench_mitigated : pc_bench {
    static constexpr hv::mitigation_policy mitigations{hv::mitigation_policy::defaults};
};

/// And with two processors.
struct pc_bench_mitigated_smp : pc_bench_mitigated {
    static constexpr unsigned max_vcpus{2};
};

/// And on Intel's processors.
struct pc_bench_mitigated_vmx : pc_bench_mitigated {
    using backend = hv::vmx;
};
