// SPDX-License-Identifier: BSD-2-Clause
#include "survey.hpp"

#include <iterator>
#include <set>

namespace verify {

namespace {

/// Where the instructions of all functions begin, and where branches lead.
struct spread {
    std::set<address> starts{};
    std::set<address> targets{};
};

void look_over_function(image const& file, decoder& decode, function const& f, survey& out, spread& all) {
    for (auto a = f.first; a < f.end;) {
        auto const& i = decode.at(a);
        a = i.next();
        all.starts.insert(i.at);
        if (i.target)
            all.targets.insert(*i.target);
        if (i.goes == flow::entry) {
            out.entries.insert(i.at);
            out.vmx |= i.opcode == "VMLAUNCH" or i.opcode == "VMRESUME";
        }
        if (not i.target)
            continue;
        auto const* g = file.function_at(*i.target);
        auto const call = i.goes == flow::call;
        if (g != nullptr and (call or g->first != f.first))
            out.callers[g->first].push_back({i.at, call});
    }
}

/// VMRUN, VMLAUNCH and VMRESUME are 0F 01 and D8, C2 or C3.
auto is_entry_opcode(std::uint8_t const* b) -> bool {
    return b[0] == 0x0f and b[1] == 0x01 and (b[2] == 0xd8 or b[2] == 0xc2 or b[2] == 0xc3);
}

/// Whether the opcode of an entry instruction at `a` belongs to one that was seen, or is nothing but an immediate or a
/// displacement: bytes inside an instruction into whose middle no direct branch leads.
auto is_accounted_for(decoder& decode, survey const& seen, spread const& all, address a) -> bool {
    auto const begin = all.starts.upper_bound(a);
    if (begin == all.starts.begin())
        return false;
    auto const& i = decode.at(*std::prev(begin));
    if (i.next() < a + 3 or i.goes == flow::nowhere)
        return false;
    if (seen.entries.contains(i.at))
        return i.next() == a + 3;
    auto const inside = all.targets.upper_bound(i.at);
    return inside == all.targets.end() or * inside >= i.next();
}

} // namespace

auto look_over(image const& file, decoder& decode) -> survey {
    survey out;
    spread all;
    for (auto const& f : file.functions())
        look_over_function(file, decode, f, out, all);
    for (auto const& s : file.sections())
        for (std::size_t n{}; s.executable and n + 3 <= s.bytes.size(); ++n)
            if (auto const a = s.first + n; not is_entry_opcode(&s.bytes[n]))
                continue;
            else if (file.function_at(a) == nullptr)
                out.stray_entries.push_back(a);
            else if (not is_accounted_for(decode, out, all, a))
                out.hidden_entries.push_back(a);
    return out;
}

} // namespace verify
