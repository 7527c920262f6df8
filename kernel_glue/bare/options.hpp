// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string_view>

namespace hv::bare {

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

    [[nodiscard]] constexpr auto find(std::string_view name) const -> word {
        std::size_t at{0};
        while (at < line_.size()) {
            auto end = line_.find(' ', at);
            if (end == std::string_view::npos)
                end = line_.size();
            auto const one = line_.substr(at, end - at);
            if (one == name)
                return {.found = true};
            if (one.size() > name.size() and one.substr(0, name.size()) == name and one[name.size()] == '=')
                return {.found = true, .value = one.substr(name.size() + 1)};
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
