// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hv::bare {

/// Who started the image, by its protocol.
enum class boot_protocol : std::uint8_t { unknown, multiboot1, multiboot2, pvh };

[[nodiscard]] constexpr auto name_of(boot_protocol p) -> std::string_view {
    switch (p) {
    case boot_protocol::multiboot1:
        return "Multiboot 1";
    case boot_protocol::multiboot2:
        return "Multiboot 2";
    case boot_protocol::pvh:
        return "PVH";
    case boot_protocol::unknown:
        break;
    }
    return "unknown";
}

/// What a stretch of physical memory may be used for.
enum class memory_kind : std::uint8_t {
    reserved,
    usable,
    acpi_reclaimable, ///< ACPI tables; read, never handed out
    acpi_storage,     ///< ACPI NVS
    unusable,         ///< defective
};

struct memory_extent {
    hpa start{};
    std::uint64_t size{};
    memory_kind kind{memory_kind::reserved};

    [[nodiscard]] constexpr auto end() const -> hpa { return start + size; }
};

/// A file that the boot loader placed in memory. It stays there, untouched, as long as the image runs.
struct boot_module {
    hpa start{};
    std::uint64_t size{};
    std::string_view string{}; ///< its own command line

    [[nodiscard]] constexpr auto end() const -> hpa { return start + size; }
};

/// The ACPI table that lists the others. ACPI Specification, "Root System Description Pointer (RSDP)".
struct acpi_root {
    hpa table{};
    bool wide{}; ///< XSDT with 64-bit entries; otherwise RSDT

    [[nodiscard]] constexpr explicit operator bool() const { return table != hpa{}; }
};

/// What the boot loader said, copied out of its memory. Texts are views into the object itself: it does not move.
class boot_information {
  public:
    constexpr boot_information() = default;
    boot_information(boot_information const&) = delete;
    auto operator=(boot_information const&) -> boot_information& = delete;

    boot_protocol protocol{boot_protocol::unknown};
    std::string_view loader{};
    std::string_view command_line{}; ///< without the name of the image
    acpi_root acpi{};
    bool truncated{}; ///< there was more than the fixed tables here hold

    [[nodiscard]] constexpr auto modules() const -> std::span<boot_module const> {
        return {modules_.data(), module_count_};
    }
    [[nodiscard]] constexpr auto memory() const -> std::span<memory_extent const> {
        return {memory_.data(), memory_count_};
    }

    // For the readers of the protocols.

    /// Copies a text that the loader's memory holds.
    constexpr auto keep(std::string_view s) -> std::string_view {
        auto const room = texts_.size() - text_size_;
        truncated |= s.size() > room;
        auto const size = s.size() < room ? s.size() : room;
        auto* const to = texts_.data() + text_size_;
        for (std::size_t i{0}; i != size; ++i)
            to[i] = s[i];
        text_size_ += size;
        return {to, size};
    }
    /// Empty modules and such that wrap around the address space are dropped.
    constexpr void add_module(hpa start, hpa end, std::string_view string) {
        if (start >= end)
            return;
        if (module_count_ == modules_.size())
            truncated = true;
        else
            modules_[module_count_++] = {start, end - start, keep(string)};
    }
    constexpr void add_memory(memory_extent extent) {
        if (extent.size == 0 or extent.start.value + extent.size < extent.start.value)
            return;
        if (memory_count_ == memory_.size())
            truncated = true;
        else
            memory_[memory_count_++] = extent;
    }
    constexpr void forget_memory() { memory_count_ = 0; }

  private:
    std::array<boot_module, 16> modules_{};
    std::size_t module_count_{0};
    std::array<memory_extent, 256> memory_{};
    std::size_t memory_count_{0};
    std::array<char, 8192> texts_{};
    std::size_t text_size_{0};
};

} // namespace hv::bare
