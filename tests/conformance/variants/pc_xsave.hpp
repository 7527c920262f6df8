// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/pc/pc.hpp>

/// The pc whose guests have XSAVE, with the states x87, SSE and AVX.
struct pc_xsave : pc {
    static constexpr bool hide_xsave{false};
};
