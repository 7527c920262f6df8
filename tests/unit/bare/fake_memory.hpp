// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <kernel_glue/bare/physical_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

/// Physical memory of a test: one piece at `base`, everything else unreadable.
class fake_memory {
  public:
    fake_memory(std::uint64_t base, std::size_t size) : base_{base}, bytes_(size) {}

    [[nodiscard]] auto bytes(hv::hpa address, std::uint64_t size) const -> std::byte const* {
        if (address.value < base_ or address.value - base_ > bytes_.size() or
            size > bytes_.size() - (address.value - base_))
            return nullptr;
        return bytes_.data() + (address.value - base_);
    }

    template <typename T>
    void put(std::uint64_t address, T value) {
        std::memcpy(&bytes_.at(address - base_), &value, sizeof value);
    }
    void put_text(std::uint64_t address, std::string_view s) {
        for (char const c : s)
            put(address++, c);
        put(address, '\0');
    }
    /// Makes `size` bytes from `start` on add up to zero by the byte at `at`.
    void put_checksum(std::uint64_t start, std::uint64_t size, std::uint64_t at) {
        put(at, std::uint8_t{0});
        unsigned sum{0};
        for (std::uint64_t i{0}; i != size; ++i)
            sum += static_cast<unsigned>(bytes_.at(start + i - base_));
        put(at, static_cast<std::uint8_t>(0u - sum));
    }

  private:
    std::uint64_t base_;
    std::vector<std::byte> bytes_;
};
static_assert(hv::bare::physical_memory<fake_memory>);
