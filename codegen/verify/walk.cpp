// SPDX-License-Identifier: BSD-2-Clause
#include "walk.hpp"

#include "address_taken.hpp"
#include "forbidden.hpp"
#include "roots.hpp"

#include <algorithm>
#include <deque>

namespace verify {

namespace {

/// Walks over pairs of an instruction and the frame it runs in. A frame is named by where it was entered; a jump to
/// another function keeps it, because that function's return is this one's.
class walker {
  public:
    walker(image const& file, decoder& decode, survey const& seen, rules const& named, std::vector<rule> const& cuts,
           wishes const& wanted)
        : file_{file}, decode_{decode}, seen_{seen}, named_{named}, wanted_{wanted},
          address_taken_{functions_with_address_taken(file, decode)} {
        for (auto const& c : cuts)
            out_.cuts.push_back({c, {}, exists(c)});
    }

    auto found() -> closure {
        for (auto const& what : file_.faults())
            out_.violations.push_back({.what = what});
        for (auto const a : seen_.stray_entries)
            out_.violations.push_back({.what = "entry instruction in code that no symbol names", .at = a});
        for (auto const a : seen_.hidden_entries)
            out_.violations.push_back({.what = "entry instruction inside another instruction", .at = a});
        for (auto const& c : out_.cuts)
            if (not c.exists)
                out_.violations.push_back({.what = "cut matches nothing: " + c.line.pattern});
        for (auto const& s : find_roots(file_, decode_, seen_, named_, wanted_, out_)) {
            if (s.how == entered::before)
                out_.continuations.insert(s.at);
            visit(s.at, {s.frame, s.how}, nowhere);
        }
        while (not work_.empty()) {
            auto const n = work_.front();
            work_.pop_front();
            take(n);
        }
        out_.entries = seen_.entries;
        for (auto const f : out_.leaves)
            note_leave_returns(f);
        for (auto const& [key, f] : frames_)
            if (key.second == entered::by_call and not f.returns and not returned_.contains(key.first))
                out_.never_return.insert(key.first);
        return std::move(out_);
    }

  private:
    using frame_key = std::pair<address, entered>;
    struct frame {
        std::set<std::pair<std::size_t, address>> callers{}; ///< node of the call, and where it continues
        bool returns{};
    };
    struct node {
        address at{};
        frame_key in{};
        std::size_t from{};
    };
    static constexpr std::size_t nowhere{~std::size_t{}};

    [[nodiscard]] auto exists(rule const& r) const -> bool {
        auto const match = [&](auto const& name) { return matches(r.pattern, name); };
        return std::ranges::any_of(file_.symbols(),
                                   [&](auto const& s) { return std::ranges::any_of(s.second, match); }) or
               std::ranges::any_of(file_.undefined(), [&](auto const& n) { return match(n) or match(readable(n)); });
    }

    // Steps.

    void visit(address at, frame_key in, std::size_t from) {
        if (seen_nodes_.insert({at, in}).second) {
            nodes_.push_back({at, in, from});
            work_.push_back(nodes_.size() - 1);
        }
    }

    void onward(instruction const& i, std::size_t n) {
        if (file_.function_at(i.next()) != nullptr and file_.routine_at(i.next()) == file_.routine_at(i.at))
            visit(i.next(), nodes_[n].in, n);
        else
            violate(i, "continues past the end of its function", n);
    }

    void take(std::size_t n) {
        auto const& i = decode_.at(nodes_[n].at);
        out_.instructions.insert(i.at);
        auto const routine = file_.names_at(file_.routine_at(i.at));
        permissions const may{.fpu = named_.are(rules::fpu_switch, routine),
                              .nmi_forward = named_.are(rules::nmi_forward, routine),
                              .locks = not wanted_.serial};
        if (auto const why = why_forbidden(decode_, i, may))
            violate(i, *why, n);

        switch (i.goes) {
        case flow::entry:
            if (not seen_.entries.contains(i.at))
                violate(i, "entry instruction inside another instruction", n);
            break;
        case flow::call:
            call(i, n);
            break;
        case flow::conditional_jump:
            jump(i, n);
            onward(i, n);
            break;
        case flow::jump:
        case flow::filling:
            jump(i, n);
            break;
        case flow::back:
            give_back(nodes_[n].in, i, n);
            break;
        case flow::interrupt_return:
            if (nodes_[n].in.second != entered::by_interrupt)
                violate(i, "interrupt return outside an interrupt entry", n);
            break;
        case flow::far:
            if (may.nmi_forward)
                onward(i, n);
            break;
        case flow::onward:
        case flow::indirect_call:
            onward(i, n);
            break;
        case flow::indirect_jump:
        case flow::table_jump:
        case flow::trap:
        case flow::nowhere:
            break;
        }
    }

    void call(instruction const& i, std::size_t n) {
        auto const* f = file_.function_at(i.at);
        if (is_cut(i, n)) {
            // A cut that nothing follows does not return: panic.
            if (f->contains(i.next()))
                visit(i.next(), nodes_[n].in, n);
            return;
        }
        auto const to = destination(i, n);
        if (not to) {
            onward(i, n);
            return;
        }
        if (file_.names_at(*to).empty())
            violate(i, "call into the middle of " + file_.describe(*to), n);
        connect(i, *to);
        out_.called.insert(*to);
        frame_key const callee{*to, entered::by_call};
        auto& made = frames_[callee];
        made.callers.insert({n, i.next()});
        if (made.returns)
            onward(i, n);
        visit(*to, callee, n);
    }

    void jump(instruction const& i, std::size_t n) {
        if (is_return_thunk(i) or is_cut(i, n)) {
            give_back(nodes_[n].in, i, n);
            return;
        }
        if (auto const to = destination(i, n)) {
            if (file_.routine_at(*to) != file_.routine_at(i.at))
                connect(i, *to);
            visit(*to, nodes_[n].in, n);
        }
    }

    void give_back(frame_key key, instruction const& i, std::size_t n) {
        switch (key.second) {
        case entered::by_call: {
            auto& f = frames_[key];
            if (f.returns)
                return;
            f.returns = true;
            for (auto const& [call, next] : f.callers)
                onward(decode_.at(nodes_[call].at), call);
            return;
        }
        case entered::before:
            returns_[key.first].insert(i.at);
            return_to_callers(key.first, i, n);
            return;
        case entered::by_interrupt:
            violate(i, "an interrupt entry ends in a return", n);
            return;
        case entered::by_request:
            return;
        }
    }

    /// The function of an entry instruction, or a caller of it, returns.
    void return_to_callers(address f, instruction const& i, std::size_t n) {
        if (not returned_.insert(f).second)
            return;
        if (named_.are(rules::leave, file_.names_at(f))) {
            out_.leaves.insert(f);
            out_.called.insert(f);
            return;
        }
        auto const callers = seen_.callers.find(f);
        if (callers == seen_.callers.end())
            return violate(i, "returns to nobody: no leave symbol closes the path out of " + file_.describe(f), n);
        if (address_taken_.contains(f))
            violate(i, "returns to unknown callers: the address of " + file_.describe(f) + " is taken", n);
        for (auto const& c : callers->second) {
            auto const& from = decode_.at(c.at);
            auto const g = file_.function_at(c.at)->first;
            connect(from, f);
            if (not c.call) {
                continued_in_[g].insert(f);
                return_to_callers(g, i, n);
            } else if (file_.function_at(c.at)->contains(from.next())) {
                out_.called.insert(f);
                visit(from.next(), {g, entered::before}, n);
            } else {
                violate(from, "continues past the end of its function", n);
            }
        }
    }

    /// The returns of a function, its tail calls' included.
    void note_leave_returns(address f) {
        std::set<address> seen{f};
        for (std::deque<address> work{f}; not work.empty(); work.pop_front()) {
            out_.leave_returns.merge(std::set{returns_[work.front()]});
            for (auto const g : continued_in_[work.front()])
                if (seen.insert(g).second)
                    work.push_back(g);
        }
    }

    // Where calls and jumps lead.

    [[nodiscard]] auto is_return_thunk(instruction const& i) const -> bool {
        return not i.target and named_.are(rules::return_thunk, decode_.names_of_target(i));
    }

    auto is_cut(instruction const& i, std::size_t n) -> bool {
        auto const names = decode_.names_of_target(i);
        if (is_indirect_thunk(names))
            return false;
        for (auto& c : out_.cuts)
            if (std::ranges::any_of(names, [&](auto const& name) { return matches(c.line.pattern, name); })) {
                c.calls.insert(i.at);
                if (named_.are(rules::exit_handler, names))
                    violate(i, "cut hides a function that serves exits: " + c.line.pattern, n);
                return true;
            }
        return false;
    }

    auto destination(instruction const& i, std::size_t n) -> std::optional<address> {
        if (is_indirect_thunk(decode_.names_of_target(i))) {
            violate(i, "retpoline: an indirect branch in disguise", n);
            return {};
        }
        if (not i.target)
            violate(i, "leaves the file: " + readable(i.outside), n);
        else if (file_.function_at(*i.target) == nullptr)
            violate(i, "leads into unknown code", n);
        else
            return i.target;
        return {};
    }

    void connect(instruction const& i, address to) {
        auto const [e, is_new] =
            out_.edges[file_.routine_at(i.at)].insert({file_.routine_at(to), {i.at, i.goes == flow::call}});
        if (not is_new and i.goes == flow::call)
            e->second = {i.at, true};
    }

    // Reports.

    void violate(instruction const& i, std::string what, std::size_t n) {
        if (not reported_.insert({i.at, what}).second)
            return;
        out_.violations.push_back({std::move(what), i.at, decode_.text(i), chain(n)});
    }

    [[nodiscard]] auto chain(std::size_t n) const -> std::vector<std::string> {
        std::vector<std::string> made;
        for (; n != nowhere; n = nodes_[n].from)
            if (auto name = file_.describe(file_.routine_at(nodes_[n].at)); made.empty() or made.back() != name)
                made.push_back(std::move(name));
        std::ranges::reverse(made);
        return made;
    }

    image const& file_;
    decoder& decode_;
    survey const& seen_;
    rules const& named_;
    wishes const& wanted_;
    std::set<address> address_taken_;
    closure out_{};
    std::vector<node> nodes_{};
    std::set<std::pair<address, frame_key>> seen_nodes_{};
    std::map<frame_key, frame> frames_{};
    std::deque<std::size_t> work_{};
    std::set<address> returned_{};
    std::map<address, std::set<address>> returns_{};      ///< of functions entered before the walk began
    std::map<address, std::set<address>> continued_in_{}; ///< what such a function jumps to
    std::set<std::pair<address, std::string>> reported_{};
};

} // namespace

auto walk(image const& file, decoder& decode, survey const& seen, rules const& named, std::vector<rule> const& cuts,
          wishes const& wanted) -> closure {
    return walker{file, decode, seen, named, cuts, wanted}.found();
}

} // namespace verify
