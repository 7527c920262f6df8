// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace hv::bare {

/// Where the readers of boot information and ACPI tables look: `bytes` answers where `size` bytes at a physical address
/// can be read, or null if they cannot.
template <typename M>
concept physical_memory = requires(M const& memory, hpa address, std::uint64_t size) {
    { memory.bytes(address, size) } -> std::same_as<std::byte const*>;
};

/// The value at a physical address, aligned or not; zero where nothing can be read.
template <typename T>
    requires std::is_trivially_copyable_v<T>
[[nodiscard]] auto load(physical_memory auto const& memory, hpa address) -> T {
    T value{};
    if (auto const* const from = memory.bytes(address, sizeof(T)); from != nullptr)
        __builtin_memcpy(&value, from, sizeof(T));
    return value;
}

/// The text at an address up to its zero byte, at most `most` characters. None at address 0.
[[nodiscard]] auto load_text(physical_memory auto const& memory, hpa address, std::uint64_t most) -> std::string_view {
    if (address == hpa{})
        return {};
    auto const* const first = memory.bytes(address, 1);
    std::uint64_t size{0};
    while (size != most and load<char>(memory, address + size) != '\0')
        ++size;
    // One piece for the caller: everything up to the last byte can be read where the first lies.
    if (size == 0 or memory.bytes(address, size) != first)
        return {};
    return {reinterpret_cast<char const*>(first), size};
}

/// True if the bytes from `address` on add up to zero, as firmware tables do.
[[nodiscard]] auto sums_to_zero(physical_memory auto const& memory, hpa address, std::uint64_t size) -> bool {
    auto const* const first = memory.bytes(address, size);
    if (first == nullptr)
        return false;
    unsigned sum{0};
    for (std::uint64_t i{0}; i != size; ++i)
        sum += static_cast<unsigned>(first[i]);
    return (sum & 0xff) == 0;
}

/// Memory that is mapped one to one up to `end`.
struct identity_memory {
    std::uint64_t end{};

    [[nodiscard]] auto bytes(hpa address, std::uint64_t size) const -> std::byte const* {
        if (address == hpa{} or address.value >= end or size > end - address.value)
            return nullptr;
        auto const* bytes = reinterpret_cast<std::byte const*>(address.value);
        asm("" : "+r"(bytes)); // g++ takes a known low address for a null pointer with an offset
        return bytes;
    }
};

} // namespace hv::bare
