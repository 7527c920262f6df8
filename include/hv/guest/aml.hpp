// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

/// The few constructs of ACPI Machine Language that a DSDT of this kind needs. ACPI specification, "ACPI Machine
/// Language (AML) Specification".
namespace hv::guest::aml {

/// A piece of AML code.
struct code {
    std::array<std::uint8_t, 192> bytes{};
    std::size_t size{};

    constexpr auto operator+=(std::uint8_t byte) -> code& {
        bytes[size++] = byte;
        return *this;
    }
    constexpr auto operator+=(code const& other) -> code& {
        for (std::size_t i{}; i != other.size; ++i)
            *this += other.bytes[i];
        return *this;
    }
    constexpr auto operator+=(std::string_view text) -> code& {
        for (char const c : text)
            *this += static_cast<std::uint8_t>(c);
        return *this;
    }
};

/// An integer in its shortest form.
[[nodiscard]] constexpr auto integer(std::uint32_t value) -> code {
    code c{};
    if (value <= 1)
        return c += static_cast<std::uint8_t>(value); // ZeroOp, OneOp
    unsigned const bytes{value <= 0xff ? 1u : value <= 0xffff ? 2u : 4u};
    c += static_cast<std::uint8_t>(bytes == 1 ? 0x0a : bytes == 2 ? 0x0b : 0x0c);
    for (unsigned i{}; i != bytes; ++i)
        c += static_cast<std::uint8_t>(value >> (8 * i));
    return c;
}

/// PkgLength and what it counts, itself included.
[[nodiscard]] constexpr auto with_length(code const& content) -> code {
    code c{};
    if (content.size + 1 < 64) {
        c += static_cast<std::uint8_t>(content.size + 1);
    } else {
        auto const length = content.size + 2;
        c += static_cast<std::uint8_t>(0x40 | (length & 0xf));
        c += static_cast<std::uint8_t>(length >> 4);
    }
    return c += content;
}

/// A name of four characters and its value.
[[nodiscard]] constexpr auto name(std::string_view segment, code const& value) -> code {
    code c{};
    c += 0x08;
    c += segment;
    return c += value;
}

[[nodiscard, gnu::cold]] constexpr auto scope(std::string_view path, code const& content) -> code {
    code inner{}, c{};
    inner += path;
    inner += content;
    c += 0x10;
    return c += with_length(inner);
}

[[nodiscard, gnu::cold]] constexpr auto device(std::string_view segment, code const& content) -> code {
    code inner{}, c{};
    inner += segment;
    inner += content;
    c += 0x5b;
    c += 0x82;
    return c += with_length(inner);
}

[[nodiscard, gnu::cold]] constexpr auto package(std::uint8_t count, code const& elements) -> code {
    code inner{}, c{};
    inner += count;
    inner += elements;
    c += 0x12;
    return c += with_length(inner);
}

/// A plug-and-play identifier as a number: three letters in 5 bits each, four hexadecimal digits, big-endian.
[[nodiscard]] constexpr auto eisa_id(std::string_view id) -> code {
    auto const digit = [id](std::size_t i) {
        return static_cast<std::uint32_t>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
    };
    auto const letter = [id](std::size_t i) { return static_cast<std::uint32_t>(id[i] - '@'); };
    std::uint32_t const big{letter(0) << 26 | letter(1) << 21 | letter(2) << 16 | digit(3) << 12 | digit(4) << 8 |
                            digit(5) << 4 | digit(6)};
    code c{};
    c += 0x0c;
    for (int shift{24}; shift >= 0; shift -= 8)
        c += static_cast<std::uint8_t>(big >> shift);
    return c;
}

/// A resource template of one port range and one edge-triggered, active-high line.
[[nodiscard, gnu::cold]] constexpr auto ports_and_line(std::uint16_t port, std::uint8_t count, std::uint8_t line)
    -> code {
    code resources{};
    resources += 0x47; // I/O port descriptor
    resources += 0x01; // decodes 16 bits
    for (unsigned i{}; i != 2; ++i) {
        resources += static_cast<std::uint8_t>(port);
        resources += static_cast<std::uint8_t>(port >> 8);
    }
    resources += 1;
    resources += count;
    resources += 0x22; // IRQ descriptor
    resources += static_cast<std::uint8_t>(line < 8 ? 1u << line : 0);
    resources += static_cast<std::uint8_t>(line < 8 ? 0 : 1u << (line & 7));
    resources += 0x79; // end tag
    resources += 0;    // no checksum

    code inner{integer(static_cast<std::uint32_t>(resources.size))}, c{};
    inner += resources;
    c += 0x11;
    return c += with_length(inner);
}

} // namespace hv::guest::aml
