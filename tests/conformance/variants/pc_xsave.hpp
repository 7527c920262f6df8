// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/pc/pc.hpp>

/// The pc whose guests have XSAVE, with the states x87, SSE and AVX.
struct pc_xsave : pc {
    static constexpr bool hide_xsave{false};
};

/// The same machine on Intel's processors.
struct pc_vmx_xsave : pc_xsave {
    using backend = hv::vmx;
};
