// SPDX-License-Identifier: BSD-2-Clause
#include "report.hpp"

#include <nlohmann/json.hpp>

#include <ostream>

namespace verify {

namespace {

/// Sums over the verified instructions.
struct totals {
    std::set<address> routines{};
    std::uint64_t bytes{};
    std::vector<std::pair<address, address>> ranges{}; ///< first, and behind the last byte

    explicit totals(findings const& f) {
        for (auto const a : f.hot.instructions) {
            auto const& i = f.decode.at(a);
            routines.insert(f.file.routine_at(a));
            bytes += i.size;
            if (not ranges.empty() and ranges.back().second == a)
                ranges.back().second = i.next();
            else
                ranges.emplace_back(a, i.next());
        }
    }
};

auto joined(std::vector<std::string> const& names) -> std::string {
    std::string made;
    for (auto const& n : names)
        made += (made.empty() ? "" : " -> ") + n;
    return made;
}

/// Roots of a kind that has many share a line: an IDT has 256.
void print_roots(std::ostream& out, findings const& f) {
    std::map<std::string, std::size_t> count;
    for (auto const& r : f.hot.roots)
        ++count[r.why];
    std::set<std::string> printed;
    for (auto const& r : f.hot.roots) {
        auto const many = count[r.why] > 8;
        if (not many or printed.insert(r.why).second)
            out << "root: " << f.file.describe(r.at) << ", " << r.why
                << (many ? ", and " + std::to_string(count[r.why] - 1) + " more" : "") << '\n';
    }
}

} // namespace

void print_text(std::ostream& out, findings const& f) {
    for (auto const& v : f.hot.violations) {
        out << "violation: " << v.what;
        if (v.at)
            out << ", at " << f.file.describe(*v.at) << (v.text.empty() ? "" : ": " + v.text);
        out << '\n';
        if (not v.chain.empty())
            out << "  by " << joined(v.chain) << '\n';
    }
    print_roots(out, f);
    for (auto const a : f.hot.leaves)
        out << "leave: " << f.file.describe(a) << '\n';
    if (not f.file.has_debug_information())
        out << "exits: no debug information: services that were inlined are not known\n";
    for (auto const& [kind, services] : f.served)
        for (auto const& s : services)
            out << "exit " << kind << ": " << s.function << (s.routine == s.function ? "" : ", in " + s.routine)
                << '\n';
    std::size_t cuts{};
    for (auto const& c : f.hot.cuts)
        if (not c.calls.empty()) {
            out << "cut: " << c.line.pattern << ", " << c.calls.size() << " calls not followed: " << c.line.reason
                << '\n';
            ++cuts;
        }
    if (f.serial)
        out << "serial: one processor runs one vCPU\n";
    totals const sum{f};
    out << "stack: " << (f.stack.bytes ? std::to_string(*f.stack.bytes) + " bytes at most" : "unknown")
        << (f.stack.deepest.empty() ? "" : ", " + f.stack.deepest);
    if (f.stack.interrupt)
        out << "; with an interrupt on top " << *f.stack.bytes + *f.stack.interrupt;
    out << '\n';
    if (f.ran.count != 0)
        out << "executed: " << f.ran.instructions.size() << " different instructions, " << f.ran.bytes << " bytes of "
            << f.ran.routines.size() << " functions, behind " << f.ran.exits << " exits, " << f.ran.count
            << " in all\n";
    out << f.path << ": " << f.hot.roots.size() << " roots, " << sum.routines.size() << " functions, "
        << f.hot.instructions.size() << " instructions, " << sum.bytes << " bytes, " << cuts << " cuts, "
        << f.hot.violations.size() << " violations\n";
}

void print_json(std::ostream& out, findings const& f) {
    using json = nlohmann::ordered_json;
    totals const sum{f};
    json made{{"file", f.path},
              {"functions", json::array()},
              {"instructions", f.hot.instructions.size()},
              {"bytes", sum.bytes},
              {"stack", f.stack.bytes ? json(*f.stack.bytes) : json()},
              {"stack_of_interrupt", f.stack.interrupt ? json(*f.stack.interrupt) : json()},
              {"serial", f.serial},
              {"debug_information", f.file.has_debug_information()},
              {"roots", json::array()},
              {"leaves", json::array()},
              {"exits", json::object()},
              {"cuts", json::array()},
              {"violations", json::array()},
              {"ranges", json::array()},
              {"text", json::array()},
              {"entries", f.hot.entries},
              {"leave_returns", f.hot.leave_returns}};
    for (auto const a : sum.routines)
        made["functions"].push_back(f.file.describe(a));
    for (auto const& r : f.hot.roots)
        made["roots"].push_back({{"at", f.file.describe(r.at)}, {"why", r.why}});
    for (auto const a : f.hot.leaves)
        made["leaves"].push_back(f.file.describe(a));
    for (auto const& [kind, services] : f.served) {
        auto& list = made["exits"][kind] = json::array();
        for (auto const& s : services)
            list.push_back({{"function", s.function}, {"routine", s.routine}});
    }
    for (auto const& c : f.hot.cuts) {
        json calls = json::array();
        for (auto const a : c.calls)
            calls.push_back(f.file.describe(a));
        made["cuts"].push_back({{"pattern", c.line.pattern}, {"reason", c.line.reason}, {"calls", calls}});
    }
    for (auto const& v : f.hot.violations)
        made["violations"].push_back({{"what", v.what},
                                      {"at", v.at ? json(f.file.describe(*v.at)) : json()},
                                      {"instruction", v.text},
                                      {"chain", v.chain}});
    for (auto const& [first, end] : sum.ranges)
        made["ranges"].push_back({first, end});
    if (f.ran.count != 0)
        made["executed"] = {{"instructions", f.ran.instructions.size()},
                            {"bytes", f.ran.bytes},
                            {"functions", f.ran.routines.size()},
                            {"exits", f.ran.exits},
                            {"count", f.ran.count}};
    for (auto const& s : f.file.sections())
        if (s.executable)
            made["text"].push_back({s.first, s.end()});
    out << made.dump(2) << '\n';
}

} // namespace verify
