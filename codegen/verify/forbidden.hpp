// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "decoder.hpp"

#include <optional>
#include <span>
#include <string>

namespace verify {

/// What the function around an instruction is trusted with.
struct permissions {
    bool fpu{};
    bool nmi_forward{};
    bool locks{true}; ///< other processors: atomic read-modify-writes
};

/// Why an instruction may not lie on the hot path; nothing if it may. Where its jump leads is not judged here.
[[nodiscard]] auto why_forbidden(decoder const&, instruction const&, permissions) -> std::optional<std::string>;

/// Whether a name is that of a thunk that jumps through a register.
[[nodiscard]] auto is_indirect_thunk(std::span<std::string const> names) -> bool;

} // namespace verify
