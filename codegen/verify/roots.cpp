// SPDX-License-Identifier: BSD-2-Clause
#include "roots.hpp"

#include <algorithm>

namespace verify {

namespace {

class finder {
  public:
    finder(image const& file, decoder& decode, rules const& named, closure& out)
        : file_{file}, decode_{decode}, named_{named}, out_{out} {}

    auto found(survey const& seen, wishes const& wanted) -> std::vector<start> {
        for (auto const a : seen.entries)
            add_entry(decode_.at(a));
        if (not add_labels(rules::vm_exit_entry, entered::before) and seen.vmx)
            out_.violations.push_back({.what = "VMLAUNCH or VMRESUME, but no symbol that HOST_RIP may name: no "
                                               "vm_exit_entry rule matches"});
        add_labels(rules::interrupt_entry, entered::by_interrupt);
        if (auto const n = out_.interrupt_entries.size(); n != 256 and wanted.needs_interrupt_entries)
            out_.violations.push_back({.what = std::to_string(n) + " interrupt entries, where an IDT has 256"});
        for (auto const& pattern : wanted.extra_roots)
            add_requested(pattern);
        if (out_.roots.empty() and out_.violations.empty())
            throw unusable{"nothing to verify: no VMRUN, VMLAUNCH or VMRESUME, and no --root"};
        return std::move(starts_);
    }

  private:
    /// `label` is what the report names.
    void add(address at, address label, std::string why, entered how) {
        out_.roots.push_back({label, std::move(why)});
        starts_.push_back({at, how == entered::before ? file_.function_at(at)->first : at, how});
    }

    void add_entry(instruction const& i) {
        if (file_.function_at(i.at)->contains(i.next()))
            add(i.next(), i.at, "after " + decode_.text(i), entered::before);
        else
            out_.violations.push_back(
                {.what = "continues past the end of its function", .at = i.at, .text = decode_.text(i)});
    }

    auto add_labels(std::string_view kind, entered how) -> bool {
        bool any{};
        for (auto const& [at, names] : file_.symbols()) {
            if (not named_.are(kind, names) or file_.function_at(at) == nullptr)
                continue;
            add(at, at, std::string{kind}, how);
            if (how == entered::by_interrupt)
                out_.interrupt_entries.insert(at);
            any = true;
        }
        return any;
    }

    void add_requested(std::string const& pattern) {
        bool any{};
        for (auto const& [at, names] : file_.symbols()) {
            if (file_.function_at(at) == nullptr or
                std::ranges::none_of(names, [&](auto const& n) { return matches(pattern, n); }))
                continue;
            add(at, at, "asked for", entered::by_request);
            out_.called.insert(at);
            any = true;
        }
        if (not any)
            throw unusable{"no symbol matches --root " + pattern};
    }

    image const& file_;
    decoder& decode_;
    rules const& named_;
    closure& out_;
    std::vector<start> starts_{};
};

} // namespace

auto find_roots(image const& file, decoder& decode, survey const& seen, rules const& named, wishes const& wanted,
                closure& out) -> std::vector<start> {
    return finder{file, decode, named, out}.found(seen, wanted);
}

} // namespace verify
