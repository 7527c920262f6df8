// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/exit.hpp>
#include <hv/exit_list.hpp>
#include <hv/meta/tuple.hpp>

namespace hv::pointers {

/// The function that serves one kind of exit.
template <typename Exit>
struct exit_slot {
    verdict (*serve)(void* handler, Exit const&);
};

/// One function for each kind of exit.
template <typename List>
struct exit_slots;
template <typename... Exits>
struct exit_slots<meta::types<Exits...>> : exit_slot<Exits>... {
    template <typename Handler>
    static constexpr auto of() -> exit_slots {
        return {{[](void* handler, Exits const& exit) { return static_cast<Handler*>(handler)->on(exit); }}...};
    }
};
using exit_table = exit_slots<exits::all>;

template <typename Handler>
inline constexpr exit_table exit_table_of = exit_table::of<Handler>();

/// The handler that a backend behind a table of functions knows: another table, whoever's.
struct exit_sink {
    void* handler;
    exit_table const* table;

    template <typename Exit>
    [[gnu::always_inline]] auto on(Exit const& exit) -> verdict {
        return static_cast<exit_slot<Exit> const*>(table)->serve(handler, exit);
    }
};

} // namespace hv::pointers
