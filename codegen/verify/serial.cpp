// SPDX-License-Identifier: BSD-2-Clause
#include "serial.hpp"

#include <algorithm>
#include <deque>

namespace verify {

namespace {

auto reads_port(instruction const& i) -> bool {
    return i.opcode.starts_with("IN8r") or i.opcode.starts_with("IN16r") or i.opcode.starts_with("IN32r");
}

/// Finds loops that wait for another processor.
class spin_finder {
  public:
    spin_finder(image const& file, decoder& decode, closure const& c) : file_{file}, decode_{decode} {
        for (auto const a : c.instructions)
            if (reads_port(decode.at(a)))
                readers_.insert(file.routine_at(a));
        for (bool more{true}; more;) {
            more = false;
            for (auto const& [from, targets] : c.edges)
                if (std::ranges::any_of(targets, [this](auto const& to) { return readers_.contains(to.first); }))
                    more |= readers_.insert(from).second;
        }
    }

    /// Whether control can come back to a PAUSE within its routine without a look at a port.
    [[nodiscard]] auto spins(address pause) -> bool {
        std::set<address> seen;
        for (std::deque<address> work{pause}; not work.empty(); work.pop_front())
            for (auto const next : behind(decode_.at(work.front()))) {
                if (next == pause)
                    return true;
                if (file_.routine_at(next) == file_.routine_at(pause) and seen.insert(next).second)
                    work.push_back(next);
            }
        return false;
    }

  private:
    /// Where an instruction leads in its routine; nowhere if it looks at a port.
    [[nodiscard]] auto behind(instruction const& i) const -> std::vector<address> {
        if (reads_port(i) or (i.goes == flow::call and i.target and readers_.contains(*i.target)))
            return {};
        std::vector<address> made;
        if (i.target and i.goes != flow::call)
            made.push_back(*i.target);
        if (i.goes == flow::onward or i.goes == flow::call or i.goes == flow::conditional_jump)
            made.push_back(i.next());
        return made;
    }

    image const& file_;
    decoder& decode_;
    std::set<address> readers_{}; ///< routines that read a port, or call one that does
};

} // namespace

auto is_serial(image const& file, rules const& named) -> bool {
    return std::ranges::any_of(file.symbols(), [&](auto const& s) { return named.are(rules::serial, s.second); });
}

void find_parallel_code(image const& file, decoder& decode, rules const& named, closure& c) {
    for (auto const& [at, names] : file.symbols())
        if (named.are(rules::parallel, names))
            c.violations.push_back({.what = "code for several processors in an image for one", .at = at});
    spin_finder finder{file, decode, c};
    for (auto const a : c.instructions)
        if (decode.at(a).opcode == "PAUSE" and finder.spins(a))
            c.violations.push_back({.what = "spin lock: a loop with PAUSE that reads no port",
                                    .at = a,
                                    .text = decode.text(decode.at(a))});
}

} // namespace verify
