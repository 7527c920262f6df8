// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::bare {

class host;

/// Logs the calls that led to the frame at `rbp`, by frame pointers and with names. Reads nothing but this host's
/// stacks and code.
void print_callers(host& h, std::uint64_t rbp);

/// Logs where an exception came from: the instruction, then the calls that led there.
void print_interrupted(host& h, std::uint64_t rip, std::uint64_t rsp, std::uint64_t rbp);

} // namespace hv::bare
