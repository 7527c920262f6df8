// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/bytes.hpp>
#include <hv/guest/memory_layout.hpp>
#include <hv/guest/start_state.hpp>
#include <hv/status.hpp>

#include <cstdint>
#include <span>
#include <string_view>

namespace hv::guest {

/// The kinds of file that a guest can start from.
enum class image_kind : std::uint8_t {
    unknown,     ///< as a request: find out
    linux_elf,   ///< ELF64 vmlinux, entered at startup_64
    linux_image, ///< bzImage, entered by its 64-bit entry
    multiboot,   ///< a Multiboot 1 kernel
    flat,        ///< real-mode code without a header
};

/// A file that goes with the kernel, and its string. Linux takes the first as its initial RAM disk.
struct boot_module {
    file bytes{};
    std::string_view text{};
};

/// What to load and how.
struct load_request {
    file image{};
    image_kind kind{image_kind::unknown};
    std::string_view name{"guest"}; ///< of the image: the first word of a Multiboot command line
    std::string_view command_line{};
    std::span<boot_module const> modules{};
    memory_layout layout{};
    std::uint64_t rsdp{}; ///< where the ACPI root pointer lies; 0 if there is none
    std::uint16_t flat_address{0x7c00};
    std::uint8_t flat_drive{0x80}; ///< DL of a flat image: the BIOS number of the boot drive
    /// The guest's TSC frequency, 0 if unknown. Linux is told by its command line, unless that tells it already:
    /// measuring it against the 8254 would cost some 30,000 exits.
    std::uint64_t tsc_khz{};
};

/// A start state, or a status and a sentence that tells a user why there is none.
struct [[nodiscard]] load_result {
    status error{status::ok};
    std::string_view reason{};
    start_state start{};

    constexpr explicit operator bool() const { return error == status::ok; }
};

/// A step of a loader: success, or why the image is refused.
struct [[nodiscard]] refusal {
    status error{status::ok};
    std::string_view reason{};

    constexpr explicit operator bool() const { return error != status::ok; }
    constexpr operator load_result() const { return {.error = error, .reason = reason}; }
};

namespace detail {

inline constexpr refusal not_memory{status::bad_address, "The guest's memory does not take what the loader writes."};

} // namespace detail
} // namespace hv::guest
