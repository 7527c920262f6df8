// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <concepts>
#include <cstddef>

namespace hv {

/// Guest-physical memory as the host sees it. `at` answers a host pointer to the byte at `address`, good to the end of
/// its 4 KiB page, or null where there is no memory or the wanted access is not allowed. It may have to allocate the
/// page. A memory whose `callers_are_serial` is true is changed by nobody else meanwhile.
template <typename M>
concept guest_memory = requires(M& memory, gpa address, access wanted) {
    { memory.at(address, wanted) } -> std::same_as<std::byte*>;
};

} // namespace hv
