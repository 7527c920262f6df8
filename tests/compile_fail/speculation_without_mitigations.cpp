// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: a CPUID profile shows IA32_SPEC_CTRL or its like, which need mitigation_policy::defaults
#include "machine_under_test.hpp"

struct machine : sound_machine {
    using cpuid = hv::speculation_cpuid_profile<hv::default_cpuid_profile>;
    static constexpr hv::mitigation_policy mitigations{hv::mitigation_policy::none};
};
void f() {
    use<machine>();
}
