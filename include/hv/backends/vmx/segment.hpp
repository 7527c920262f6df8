// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/registers.hpp>

#include <cstdint>

namespace hv::backends::vmx {

/// Access rights as VM entry wants them: reserved bits clear; what is not present is unusable; code and data are
/// accessed; the task is busy. SDM Vol. 3C, "Checks on Guest Segment Registers".
[[nodiscard]] constexpr auto to_vmcs(x86::segment_name name, x86::segment const& s) -> std::uint32_t {
    namespace bits = x86::segment_access;
    constexpr std::uint32_t busy{1u << 1};
    auto access = s.access & (0xf0ffu | bits::unusable);
    if (name == x86::segment_name::tr)
        return (access | busy) & ~bits::unusable;
    if ((access & bits::present) == 0)
        return access | bits::unusable;
    return (access & bits::not_system) != 0 ? access | bits::accessed : access;
}

static_assert(to_vmcs(x86::segment_name::cs, {.access = 0xa09a}) == 0xa09b);
static_assert(to_vmcs(x86::segment_name::ss, {.access = 0xffff'0f13}) == 0x1'0013);
static_assert(to_vmcs(x86::segment_name::ldtr, {.access = 0x82}) == 0x82);
static_assert(to_vmcs(x86::segment_name::tr, {.access = 0x89}) == 0x8b);

} // namespace hv::backends::vmx
