// SPDX-License-Identifier: BSD-2-Clause
#include "address_taken.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace verify {

namespace {

class search {
  public:
    search(image const& file, decoder& decode) : file_{file}, decode_{decode} {
        for (auto const& f : file.functions())
            starts_.insert(f.first);
    }

    auto found() -> std::set<address> {
        for (auto const& f : file_.functions())
            in_code(f);
        for (auto const& s : file_.sections())
            if (s.data and may_hold_pointers(s.name))
                in_data(s);
        return std::move(found_);
    }

  private:
    /// Unwinders, the kernel's patching and the bare host's names for backtraces (.symbols) keep tables of places in
    /// code that nobody jumps through.
    static auto may_hold_pointers(std::string_view section_name) -> bool {
        constexpr std::array<std::string_view, 13> tables{
            ".symbols",     ".eh_frame",          ".orc_",       ".return_sites", ".retpoline_sites", ".call_sites",
            "__mcount_loc", ".static_call_sites", "__bug_table", "__jump_table",  ".altinstructions", "__ex_table",
            ".note"};
        return std::ranges::none_of(tables, [&](auto t) { return section_name.starts_with(t); });
    }

    void add(address a) {
        if (starts_.contains(a))
            found_.insert(a);
    }

    void in_code(function const& f) {
        for (auto a = f.first; a < f.end;) {
            auto const& i = decode_.at(a);
            a = i.next();
            if (i.opcode.empty() or i.target or not i.outside.empty())
                continue;
            auto const r = file_.references().lower_bound(i.at);
            if (r != file_.references().end() and r->first < i.next()) {
                if (r->second.target) { // RIP-relative fields count from the end of the instruction
                    add(*r->second.target);
                    add(*r->second.target + (i.next() - r->first));
                }
                continue;
            }
            for (auto const& o : i.operands)
                if (o.isImm())
                    add(static_cast<address>(o.getImm()));
            if (auto const named = decode_.named_address(i))
                add(*named);
        }
    }

    void in_data(section const& s) {
        if (file_.relocatable()) {
            for (auto r = file_.references().lower_bound(s.first); r != file_.references().end() and r->first < s.end();
                 ++r)
                if (r->second.target)
                    add(*r->second.target);
            return;
        }
        // An address below 4 GiB, or in the last 2 GiB, fits into a word of 4 bytes; and such words make up all others.
        for (std::size_t n{}; n + sizeof(std::int32_t) <= s.bytes.size(); n += sizeof(std::int32_t)) {
            std::int32_t word{};
            std::memcpy(&word, &s.bytes[n], sizeof(word));
            add(static_cast<std::uint32_t>(word));
            add(static_cast<address>(std::int64_t{word}));
        }
    }

    image const& file_;
    decoder& decode_;
    std::set<address> starts_{};
    std::set<address> found_{};
};

} // namespace

auto functions_with_address_taken(image const& file, decoder& decode) -> std::set<address> {
    return search{file, decode}.found();
}

} // namespace verify
