// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/text.hpp>

#include <bit>
#include <concepts>
#include <cstdint>
#include <string_view>

/// The order in which a thread takes locks, and its check. A host that wants the check has `locks_held()`, the record
/// of the thread that asks; in any other nothing is left of it.
namespace hv {

/// Places in the order: of each a thread holds one at most, and takes none while it holds that or a later one. See
/// docs/locking.md.
enum class lock_rank : std::uint8_t {
    machine, ///< shared or exclusive access to a machine; or one vCPU, frozen or running
    board,   ///< the devices that all vCPUs share
    memory,  ///< the tables of the memory map, while they are filled
};

/// In words, for who reads a panic.
[[nodiscard]] constexpr auto name_of(lock_rank rank) -> std::string_view {
    switch (rank) {
    case lock_rank::machine:
        return "access to the machine";
    case lock_rank::board:
        return "the board";
    case lock_rank::memory:
        return "the memory map";
    }
    return "?";
}

/// The ranks that a thread holds.
class locks_held {
  public:
    /// Whether a lock of this rank may be taken now.
    [[nodiscard]] constexpr auto may_take(lock_rank rank) const -> bool { return ranks_ >> number(rank) == 0; }
    [[nodiscard]] constexpr auto any() const -> bool { return ranks_ != 0; }
    /// The last in the order, of one or more.
    [[nodiscard]] constexpr auto last() const -> lock_rank {
        return static_cast<lock_rank>(std::bit_width(ranks_ | 1u) - 1);
    }
    constexpr void add(lock_rank rank) { ranks_ |= 1u << number(rank); }
    constexpr void drop(lock_rank rank) { ranks_ &= ~(1u << number(rank)); }

  private:
    [[nodiscard]] static constexpr auto number(lock_rank rank) -> unsigned { return static_cast<unsigned>(rank); }

    std::uint32_t ranks_{};
};

/// Whether threads on a host keep a record of their locks.
template <typename Host>
concept checks_lock_order = not Host::callers_are_serial and requires(Host& host) {
    { host.locks_held() } -> std::same_as<locks_held&>;
};

/// Says that this thread is about to wait for a lock. One out of order is a broken invariant of the host.
template <typename Host>
void note_taking([[maybe_unused]] Host& host, [[maybe_unused]] lock_rank rank) {
    if constexpr (checks_lock_order<Host>) {
        if (not host.locks_held().may_take(rank)) [[unlikely]]
            host.panic(text_line<>{}
                           .text("a lock is taken out of order: ")
                           .text(name_of(rank))
                           .text(", by who has ")
                           .text(name_of(host.locks_held().last()))
                           .view());
        host.locks_held().add(rank);
    }
}
/// Says that this thread no longer has it.
template <typename Host>
void note_given([[maybe_unused]] Host& host, [[maybe_unused]] lock_rank rank) {
    if constexpr (checks_lock_order<Host>)
        host.locks_held().drop(rank);
}

/// A lock of a host with its place in the order.
template <typename Host, lock_rank Rank>
class ordered_lock {
  public:
    void acquire(Host& host) {
        note_taking(host, Rank);
        lock_.acquire();
    }
    void release(Host& host) {
        lock_.release();
        note_given(host, Rank);
    }

  private:
    typename Host::lock lock_{};
};

} // namespace hv
