// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/memory/guest_memory.hpp>

#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <vector>

/// Guest memory of a test: from 0 up, with pages that cannot be written and a hook before each access.
struct flat_memory {
    explicit flat_memory(std::size_t bytes) : words(bytes / 8) {}

    auto at(hv::gpa address, hv::access wanted) -> std::byte* {
        if (before_access)
            before_access(address, wanted);
        if (address.value >= words.size() * 8)
            return nullptr;
        if (hv::includes(wanted, hv::access::write) and read_only.contains(address.page().value))
            return nullptr;
        return reinterpret_cast<std::byte*>(words.data()) + address.value;
    }

    template <typename T>
    void put(std::uint64_t where, T value) {
        std::memcpy(reinterpret_cast<std::byte*>(words.data()) + where, &value, sizeof(value));
    }
    template <typename T>
    auto get(std::uint64_t where) const -> T {
        T value;
        std::memcpy(&value, reinterpret_cast<std::byte const*>(words.data()) + where, sizeof(value));
        return value;
    }

    std::vector<std::uint64_t> words;
    std::set<std::uint64_t> read_only{};
    std::function<void(hv::gpa, hv::access)> before_access{};
};
static_assert(hv::guest_memory<flat_memory>);
