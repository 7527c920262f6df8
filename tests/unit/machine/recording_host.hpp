// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <cstddef>
#include <map>

namespace hv::test {

/// A hosted host that knows which physical memory is given out.
struct recording_host : hosted::serial_host {
    using hosted::serial_host::serial_host;

    auto allocate(std::size_t bytes, std::size_t alignment) -> void* {
        auto* const memory = hosted::serial_host::allocate(bytes, alignment);
        if (memory != nullptr)
            pieces[physical(memory).value] = bytes;
        return memory;
    }
    void free(void* memory, std::size_t bytes) {
        pieces.erase(physical(memory).value);
        hosted::serial_host::free(memory, bytes);
    }

    std::map<std::uint64_t, std::size_t> pieces{}; ///< by physical address
};

} // namespace hv::test
