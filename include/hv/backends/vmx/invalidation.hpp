// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::backends::vmx {

/// VPIDs are 16 bits wide. SDM Vol. 3C, "Virtual Processor Identifiers (VPIDs)".
inline constexpr std::uint32_t vpid_count{0x10000};

/// Operands of INVEPT and INVVPID. SDM Vol. 3C, "INVEPT" and "INVVPID".
enum class invept_type : std::uint64_t { single_context = 1, all_contexts = 2 };
enum class invvpid_type : std::uint64_t { single_context = 1, all_contexts = 2 };

} // namespace hv::backends::vmx
