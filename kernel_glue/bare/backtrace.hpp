// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::bare {

class host;

/// Logs the chain of calls that led to `rip`, by frame pointers and with names. Reads nothing but this host's stacks.
void print_backtrace(host& h, std::uint64_t rip, std::uint64_t rbp);

} // namespace hv::bare
