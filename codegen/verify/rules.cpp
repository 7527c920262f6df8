// SPDX-License-Identifier: BSD-2-Clause
#include "rules.hpp"

#include "image.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>

namespace verify {

namespace {

/// Calls `each` with every line that says something; its `refuse` throws with file and line.
void for_each_line(std::string const& path, auto each) {
    std::ifstream stream{path};
    if (not stream)
        throw unusable{path + ": cannot be read"};
    std::string line;
    for (unsigned number{1}; std::getline(stream, line); ++number) {
        if (line.empty() or line.starts_with('#'))
            continue;
        each(std::string_view{line}, [&](std::string const& what) -> void {
            throw unusable{std::string{path}.append(":").append(std::to_string(number)).append(": ").append(what)};
        });
    }
}

auto fields(std::string_view line) -> std::vector<std::string> {
    std::vector<std::string> made;
    while (true) {
        auto const tab = line.find('\t');
        made.emplace_back(line.substr(0, tab));
        if (tab == std::string_view::npos)
            return made;
        line.remove_prefix(tab + 1);
    }
}

constexpr std::array kinds{rules::leave,       rules::vm_exit_entry, rules::interrupt_entry, rules::fpu_switch,
                           rules::nmi_forward, rules::return_thunk,  rules::exit_handler,    rules::exit_dispatch,
                           rules::serial,      rules::parallel};

} // namespace

auto matches(std::string_view pattern, std::string_view name) -> bool {
    std::size_t p{}, n{}, star{std::string_view::npos}, resume{};
    while (n < name.size()) {
        if (p < pattern.size() and pattern[p] == '*') {
            star = p++;
            resume = n;
        } else if (p < pattern.size() and pattern[p] == name[n]) {
            ++p;
            ++n;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            n = ++resume;
        } else {
            return false;
        }
    }
    return pattern.substr(p).find_first_not_of('*') == std::string_view::npos;
}

auto rules::read(std::string const& path) -> rules {
    rules made;
    for_each_line(path, [&](std::string_view line, auto const& refuse) {
        auto const f = fields(line);
        if (f.size() != 3 or f[1].empty() or f[2].empty())
            refuse("a rule is kind TAB pattern TAB reason");
        if (std::ranges::find(kinds, std::string_view{f[0]}) == kinds.end())
            refuse("unknown kind of rule: " + f[0]);
        made.lines_[f[0]].push_back({f[1], f[2]});
    });
    return made;
}

auto rules::of(std::string_view kind) const -> std::span<rule const> {
    auto const i = lines_.find(kind);
    return i == lines_.end() ? std::span<rule const>{} : i->second;
}

auto rules::are(std::string_view kind, std::span<std::string const> names) const -> bool {
    return std::ranges::any_of(of(kind), [&](rule const& r) {
        return std::ranges::any_of(names, [&](auto const& name) { return matches(r.pattern, name); });
    });
}

auto read_cuts(std::string const& path, std::string_view file_name) -> std::vector<rule> {
    std::vector<rule> made;
    bool applies{true};
    for_each_line(path, [&](std::string_view line, auto const& refuse) {
        if (line.starts_with('[') and line.ends_with(']')) {
            applies = matches(line.substr(1, line.size() - 2), file_name);
            return;
        }
        auto const f = fields(line);
        if (f.size() != 2 or f[0].empty() or f[1].empty())
            refuse("a cut is pattern TAB reason");
        if (applies)
            made.push_back({f[0], f[1]});
    });
    return made;
}

} // namespace verify
