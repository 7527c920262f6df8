// SPDX-License-Identifier: BSD-2-Clause
#include "stack.hpp"

#include "stack_state.hpp"

#include <algorithm>
#include <cstdlib>
#include <deque>

namespace verify {

namespace {

/// What one function needs, by itself and for its calls.
struct need {
    std::optional<std::int64_t> own{0};
    std::map<address, std::int64_t>
        calls{}; ///< bytes below the return address when control leaves for another function
};

class follower {
  public:
    follower(image const& file, decoder& decode, rules const& named, std::uint64_t limit, closure& c)
        : file_{file}, decode_{decode}, named_{named}, limit_{limit}, closure_{c} {}

    auto followed() -> stack_use {
        for (auto const a : closure_.interrupt_entries)
            follow(a, true);
        for (auto const a : closure_.called)
            follow(a, false);
        for (auto const a : closure_.instructions)
            if (auto const& i = decode_.at(a); i.goes == flow::back and not judged_.contains(a))
                violate(i, "return to which the stack pointer was not followed");
        auto const use = deepest();
        if (limit_ != 0 and not use.bytes)
            closure_.violations.push_back({.what = "the depth of the stack is unknown, because of " + use.deepest});
        else if (limit_ != 0 and *use.bytes + use.interrupt.value_or(0) > limit_)
            closure_.violations.push_back(
                {.what = "the stack may get deeper than " + std::to_string(limit_) + " bytes"});
        return use;
    }

  private:
    /// What the processor pushes for an exception, at most: it aligns the stack first. SDM Vol. 3A, "64-Bit Mode Stack
    /// Frame".
    static constexpr std::uint64_t hardware_frame{15 + 6 * 8};

    auto deepest() -> stack_use {
        stack_use made{.bytes = 0};
        for (auto const& [a, n] : needs_) {
            auto const bytes = total(a);
            if (not bytes)
                return {.bytes = {}, .deepest = file_.describe(a)};
            auto const deep = static_cast<std::uint64_t>(*bytes);
            if (closure_.interrupt_entries.contains(a)) {
                made.interrupt = std::max(made.interrupt.value_or(0), deep + hardware_frame);
            } else if (deep > *made.bytes) {
                made.bytes = deep;
                made.deepest = file_.describe(a);
            }
        }
        return made;
    }

    void follow(address start, bool interrupt) {
        states_.clear();
        work_.clear();
        interrupt_ = interrupt;
        start_ = start;
        need_ = &needs_[start];
        arrive(start, stack_state::at_entry());
        while (not work_.empty()) {
            auto const a = work_.front();
            work_.pop_front();
            step(decode_.at(a), states_.at(a));
        }
        for (auto const& [a, s] : states_)
            judge(decode_.at(a), s);
    }

    void arrive(address a, stack_state const& s) {
        if (file_.function_at(a) == nullptr)
            return;
        auto const [i, is_new] = states_.insert({a, s});
        if (is_new or i->second.join(s))
            work_.push_back(a);
    }

    void step(instruction const& i, stack_state const& s) {
        auto const call = i.goes == flow::call or i.goes == flow::indirect_call;
        auto const after = s.after(decode_, i);
        auto const* f = file_.function_at(i.at);
        if (i.goes == flow::entry)
            for (auto const& r : closure_.roots) // HOST_RSP holds the stack pointer of the entry
                if (r.why == rules::vm_exit_entry and f->contains(r.at))
                    arrive(r.at, after);
        if ((i.goes == flow::jump or i.goes == flow::conditional_jump or i.goes == flow::filling) and i.target and
            not leaves_frame(i))
            arrive(*i.target, after);
        auto const ends = i.goes == flow::jump or i.goes == flow::filling or i.goes == flow::back or
                          i.goes == flow::trap or i.goes == flow::nowhere or i.goes == flow::interrupt_return or
                          i.goes == flow::indirect_jump or i.goes == flow::table_jump or
                          (call and i.target and closure_.never_return.contains(*i.target));
        if (not ends and f->contains(i.next()))
            arrive(i.next(), after);
    }

    /// A jump to a function that others call: a tail call.
    [[nodiscard]] auto leaves_frame(instruction const& i) const -> bool {
        return i.goes != flow::call and i.target and closure_.called.contains(*i.target) and
               file_.routine_at(*i.target) != file_.routine_at(i.at);
    }

    void judge(instruction const& i, stack_state const& s) {
        auto const pointer = s.stack_pointer();
        auto const deepest = std::min(pointer ? pointer->offset : 0, [&] {
            auto const after = s.after(decode_, i).stack_pointer();
            return after ? after->offset : 0;
        }());
        if (not pointer)
            need_->own.reset();
        else if (need_->own)
            need_->own = std::max(*need_->own, -deepest);
        if (not closure_.instructions.contains(i.at))
            return;
        judged_.insert(i.at);
        auto const tail = leaves_frame(i);
        if (pointer and i.target and (tail or (i.goes == flow::call and closure_.called.contains(*i.target)))) {
            auto& bytes = need_->calls[*i.target];
            bytes = std::max(bytes, -pointer->offset + (tail ? 0 : 8));
        }
        if (i.goes == flow::interrupt_return and interrupt_)
            return judge_place(i, pointer, pushed_error_code(start_) ? 8 : 0, "interrupt return");
        if (interrupt_)
            return;
        if (s.overwrites_return_address(decode_, i))
            violate(i, "store to the return address");
        auto const thunk =
            i.goes == flow::jump and not i.target and named_.are(rules::return_thunk, decode_.names_of_target(i));
        if (i.goes != flow::back and not thunk and not tail)
            return;
        judge_place(i, pointer, 0, "return");
    }

    void judge_place(instruction const& i, std::optional<stack_address> const& pointer, std::int64_t place,
                     std::string const& what) {
        if (not pointer or not pointer->exact())
            violate(i, what + " with a stack pointer that cannot be followed");
        else if (auto const off = pointer->offset - place; off != 0)
            violate(i, what + " with the stack pointer " + std::to_string(std::abs(off)) + " bytes " +
                           (off < 0 ? "below" : "above") + " its place");
    }

    /// Whether the processor pushes an error code before this entry, the n-th of which is that of vector n. SDM Vol.
    /// 3A, "Exception and Interrupt Reference"; APM Vol. 2, "Vectors".
    [[nodiscard]] auto pushed_error_code(address entry) const -> bool {
        constexpr std::uint32_t vectors{1U << 8 | 0x1fU << 10 | 1U << 17 | 1U << 21 | 1U << 29 | 1U << 30};
        auto const& entries = closure_.interrupt_entries;
        auto const n = std::distance(entries.begin(), entries.find(entry));
        return n < 32 and (vectors >> n & 1) != 0;
    }

    void violate(instruction const& i, std::string what) {
        if (reported_.insert(i.at).second)
            closure_.violations.push_back({std::move(what), i.at, decode_.text(i), {file_.describe(i.at)}});
    }

    /// The bytes of a function and all it calls; none where they cannot be known.
    auto total(address a) -> std::optional<std::int64_t> {
        if (auto const known = totals_.find(a); known != totals_.end())
            return known->second;
        auto const n = needs_.find(a);
        if (n == needs_.end() or not n->second.own)
            return {};
        totals_[a] = std::nullopt; // what a recursive call finds
        auto most = *n->second.own;
        for (auto const& [callee, below] : n->second.calls) {
            auto const more = total(callee);
            if (not more)
                return {};
            most = std::max(most, below + *more);
        }
        totals_[a] = most;
        return most;
    }

    image const& file_;
    decoder& decode_;
    rules const& named_;
    std::uint64_t limit_;
    closure& closure_;
    std::map<address, stack_state> states_{};
    std::deque<address> work_{};
    bool interrupt_{};
    address start_{};
    need* need_{};
    std::map<address, need> needs_{};
    std::map<address, std::optional<std::int64_t>> totals_{};
    std::set<address> judged_{};
    std::set<address> reported_{};
};

} // namespace

auto follow_stack(image const& file, decoder& decode, rules const& named, std::uint64_t limit, closure& c)
    -> stack_use {
    return follower{file, decode, named, limit, c}.followed();
}

} // namespace verify
