// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv::bare {

/// Part of a text, without the exception of std::string_view::substr: `from` is at most its size.
[[nodiscard]] constexpr auto part(std::string_view text, std::size_t from, std::size_t count = std::string_view::npos)
    -> std::string_view {
    auto const rest = text.size() - from;
    return {text.data() + from, count < rest ? count : rest};
}

/// The image's own command line: words `name` or `name=value`.
class options {
  public:
    constexpr explicit options(std::string_view line) : line_{line} {}

    /// Whether the word stands there, with or without a value.
    [[nodiscard]] constexpr auto has(std::string_view name) const -> bool { return find(name).found; }

    /// The value of `name=value`; empty if there is none.
    [[nodiscard]] constexpr auto text(std::string_view name) const -> std::string_view { return find(name).value; }

    /// A decimal number; `otherwise` if it is not there or not a number that fits.
    [[nodiscard]] constexpr auto number(std::string_view name, std::uint64_t otherwise) const -> std::uint64_t {
        auto const digits = text(name);
        std::uint64_t value{0};
        for (auto const c : digits) {
            if (c < '0' or c > '9' or value > (UINT64_MAX - 9) / 10)
                return otherwise;
            value = value * 10 + static_cast<std::uint64_t>(c - '0');
        }
        return digits.empty() ? otherwise : value;
    }

  private:
    struct word {
        bool found{};
        std::string_view value{};
    };

    [[nodiscard, gnu::cold]] constexpr auto find(std::string_view name) const -> word {
        std::size_t at{0};
        while (at < line_.size()) {
            auto end = line_.find(' ', at);
            if (end == std::string_view::npos)
                end = line_.size();
            auto const one = part(line_, at, end - at);
            if (one == name)
                return {.found = true};
            if (one.size() > name.size() and part(one, 0, name.size()) == name and one[name.size()] == '=')
                return {.found = true, .value = part(one, name.size() + 1)};
            at = end + 1;
        }
        return {};
    }

    std::string_view line_;
};

static_assert(options{"memory=256 trace"}.number("memory", 1) == 256);
static_assert(options{"memory=256 trace"}.has("trace") and not options{"memory=256"}.has("mem"));
static_assert(options{"memory=x"}.number("memory", 7) == 7 and options{""}.number("memory", 7) == 7);

} // namespace hv::bare
