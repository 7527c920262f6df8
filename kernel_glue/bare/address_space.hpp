// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"
#include "page_allocator.hpp"
#include "stacks.hpp"

#include <cstdint>
#include <span>

namespace hv::bare {

/// What boot.S has mapped; everything that boot loaders and start-up touch before `enter_address_space` lies below.
inline constexpr std::uint64_t boot_mapping_end{std::uint64_t{4} << 30};

/// Gives the memory that nobody uses, and that lies in [first, end), to the allocator.
void add_free_memory(page_allocator& memory, boot_information const& boot, std::uint64_t first, std::uint64_t end);

/// Builds and loads the page tables that stay: all memory one to one and never executable, the image's code read-only
/// and its constants too, nothing at page 0 and under the stacks. Answers the end of what is mapped, or 0 if the
/// memory for tables did not suffice.
[[nodiscard]] auto enter_address_space(page_allocator& memory, boot_information const& boot) -> std::uint64_t;

/// Takes the guard pages of further stacks out of the tables, before other processors have joined.
[[nodiscard]] auto guard_stacks(page_allocator& memory, std::span<stacks> further) -> bool;
/// The same tables on another processor. `root` is CR3 of the first.
void join_address_space(std::uint64_t root);

} // namespace hv::bare
