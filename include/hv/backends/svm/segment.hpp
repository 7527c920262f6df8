// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm/vmcb.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>

namespace hv::backends::svm {

/// The VMCB has no "unusable": such a segment is one that is not present. APM Vol. 2, "Segment State in the VMCB".
[[nodiscard]] constexpr auto to_vmcb(x86::segment const& s) -> vmcb_segment {
    auto attributes = (s.access & 0xff) | (s.access >> 4 & 0xf00);
    if ((s.access & x86::segment_access::unusable) != 0)
        attributes &= ~x86::segment_access::present;
    return {s.selector, static_cast<std::uint16_t>(attributes), s.limit, s.base};
}

[[nodiscard]] constexpr auto from_vmcb(vmcb_segment const& s) -> x86::segment {
    auto access = (std::uint32_t{s.attributes} & 0xff) | (std::uint32_t{s.attributes} & 0xf00) << 4;
    if ((access & x86::segment_access::present) == 0)
        access |= x86::segment_access::unusable;
    return {s.base, s.limit, access, s.selector};
}

static_assert(to_vmcb({.access = 0xa09b}).attributes == 0xa9b);
static_assert(from_vmcb({.selector = 8, .attributes = 0xc93, .limit = ~0u, .base = 1}) ==
              x86::segment{.base = 1, .limit = ~0u, .access = 0xc093, .selector = 8});
static_assert(from_vmcb(to_vmcb({.access = 0x10000})).access == 0x10000);

} // namespace hv::backends::svm
