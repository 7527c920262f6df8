// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/exception.hpp>

#include <cstdint>

namespace hv {

/// What is delivered through the IDT.
enum class event_type : std::uint8_t { external_interrupt = 0, nmi = 2, exception = 3, software_interrupt = 4 };

/// An event on its way into the guest, in the 64-bit layout that the reference interface and the APM share:
/// vector 7:0, type 10:8, error code present 11, valid 31, error code 63:32. APM Vol. 2, "Event Injection".
struct event {
    std::uint64_t raw{};

    static constexpr std::uint64_t valid_bit{1u << 31};
    static constexpr std::uint64_t error_code_bit{1u << 11};
    static constexpr std::uint64_t reserved{0x7ffff000};

    [[nodiscard]] static constexpr auto make(event_type type, std::uint8_t vector) -> event {
        return {valid_bit | static_cast<std::uint64_t>(type) << 8 | vector};
    }
    [[nodiscard]] static constexpr auto make(x86::exception vector) -> event {
        return make(event_type::exception, static_cast<std::uint8_t>(vector));
    }
    [[nodiscard]] static constexpr auto make(x86::exception vector, std::uint32_t error_code) -> event {
        return {make(vector).raw | error_code_bit | std::uint64_t{error_code} << 32};
    }

    [[nodiscard]] constexpr auto valid() const -> bool { return (raw & valid_bit) != 0; }
    [[nodiscard]] constexpr auto type() const -> event_type { return static_cast<event_type>(raw >> 8 & 7); }
    [[nodiscard]] constexpr auto vector() const -> std::uint8_t { return static_cast<std::uint8_t>(raw); }
    [[nodiscard]] constexpr auto has_error_code() const -> bool { return (raw & error_code_bit) != 0; }
    [[nodiscard]] constexpr auto error_code() const -> std::uint32_t { return static_cast<std::uint32_t>(raw >> 32); }
    constexpr auto operator==(event const&) const -> bool = default;
};

} // namespace hv
