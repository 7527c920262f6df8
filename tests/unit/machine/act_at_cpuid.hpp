// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/exit.hpp>

#include <cstdint>
#include <functional>

namespace hv::test {

/// Lets a test act while a CPUID is served, of the vCPU with that number.
struct act_at_cpuid {
    static inline std::function<void(std::uint32_t)> what{};
    static inline auto answer = verdict::advance;

    /// As it was before the test.
    static void forget() {
        what = {};
        answer = verdict::advance;
    }
    auto on(exits::cpuid const&, auto& cpu) -> verdict {
        if (not what)
            return verdict::not_mine;
        what(cpu.id());
        return answer;
    }
};

} // namespace hv::test
