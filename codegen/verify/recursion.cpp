// SPDX-License-Identifier: BSD-2-Clause
#include "recursion.hpp"

#include <algorithm>
#include <deque>

namespace verify {

namespace {

/// The routines from one to another along the edges, both included; empty where there is no way.
auto way(closure const& c, address from, address to) -> std::vector<address> {
    std::map<address, address> came_from{{from, from}};
    for (std::deque<address> work{from}; not work.empty(); work.pop_front()) {
        auto const here = work.front();
        if (here == to) {
            std::vector<address> made{here};
            for (auto a = here; a != from; made.push_back(a))
                a = came_from.at(a);
            std::ranges::reverse(made);
            return made;
        }
        if (auto const next = c.edges.find(here); next != c.edges.end())
            for (auto const& [there, e] : next->second)
                if (came_from.insert({there, here}).second)
                    work.push_back(there);
    }
    return {};
}

} // namespace

void find_recursion(image const& file, decoder& decode, closure& c) {
    std::set<address> reported;
    for (auto const& [from, targets] : c.edges)
        for (auto const& [to, e] : targets) {
            if (not e.call or reported.contains(to))
                continue;
            auto const cycle = way(c, to, from);
            if (cycle.empty())
                continue;
            reported.insert(cycle.begin(), cycle.end());
            violation v{.what = "recursion", .at = e.at, .text = decode.text(decode.at(e.at)), .chain = {}};
            v.chain.push_back(file.describe(from));
            for (auto const a : cycle)
                v.chain.push_back(file.describe(a));
            c.violations.push_back(std::move(v));
        }
}

} // namespace verify
