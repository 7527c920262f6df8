// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/fake/script.hpp>
#include <hv/exit.hpp>

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace hv::test {

/// Everything that an exit says, as text: exits compare by it.
template <typename E>
[[nodiscard]] auto summary(E const& e) -> std::string {
    std::ostringstream out;
    out << E::name << std::hex << std::boolalpha;
    auto const number = [&](std::string_view name, auto value) { out << ' ' << name << '=' << std::uint64_t(value); };
    if constexpr (requires { e.port; })
        number("port", e.port), number("size", e.size), number("in", e.in), number("string", e.string),
            number("rep", e.rep), number("address_size", e.address_size), number("segment", e.segment),
            number("segment_known", e.segment_known);
    if constexpr (requires { e.index; })
        number("index", e.index);
    if constexpr (requires { e.value; })
        number("value", e.value);
    if constexpr (requires { e.wanted; }) {
        number("address", e.address.value), number("wanted", e.wanted), number("page_walk", e.page_walk),
            number("present", e.present), number("count", e.instruction.count);
        for (unsigned i{0}; i < e.instruction.count; ++i)
            number("byte", e.instruction.bytes[i]);
    }
    if constexpr (requires { e.decoded; }) {
        number("number", e.number), number("write", e.write), number("decoded", e.decoded);
        if (e.decoded)
            number("source", e.source);
    }
    if constexpr (requires { e.which; })
        number("which", e.which), number("write", e.write);
    if constexpr (requires { e.kind; })
        number("kind", e.kind);
    if constexpr (requires { e.offset; })
        number("offset", e.offset);
    if constexpr (requires { e.vector; })
        number("vector", e.vector);
    if constexpr (requires { e.qualification; })
        number("qualification", e.qualification);
    if constexpr (requires { e.error_code; })
        number("error_code", e.error_code);
    if constexpr (requires { e.with_aux; })
        number("with_aux", e.with_aux);
    if constexpr (std::is_same_v<E, exits::task_switch>)
        number("selector", e.selector), number("reason", e.reason), number("has_error_code", e.has_error_code);
    if constexpr (requires { e.code; })
        number("code", e.code), number("information", e.information[0]), number("information", e.information[1]);
    return out.str();
}

[[nodiscard]] inline auto summary(script::any_exit const& exit) -> std::string {
    return std::visit([](auto const& e) { return summary(e); }, exit);
}

/// Records every exit and answers always the same.
struct recording_handler {
    verdict answer{verdict::leave};
    std::vector<std::string> seen{};
    std::vector<script::any_exit> exits{};

    template <typename E>
    auto on(E const& e) -> verdict {
        seen.push_back(summary(e));
        exits.emplace_back(e);
        return answer;
    }
    [[nodiscard]] auto last() const -> std::string { return seen.empty() ? std::string{} : seen.back(); }
};

} // namespace hv::test
