// SPDX-License-Identifier: BSD-2-Clause
#include "survey.hpp"

namespace verify {

namespace {

void look_over_function(image const& file, decoder& decode, function const& f, survey& out) {
    for (auto a = f.first; a < f.end;) {
        auto const& i = decode.at(a);
        a = i.next();
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

} // namespace

auto look_over(image const& file, decoder& decode) -> survey {
    survey out;
    for (auto const& f : file.functions())
        look_over_function(file, decode, f, out);
    for (auto const& s : file.sections())
        for (std::size_t n{}; s.executable and n + 3 <= s.bytes.size(); ++n)
            if (is_entry_opcode(&s.bytes[n]) and file.function_at(s.first + n) == nullptr)
                out.stray_entries.push_back(s.first + n);
    return out;
}

} // namespace verify
