// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bit>
#include <cstdint>

namespace hv {

/// Why `vcpu::run` came back. From `stopped` to `run_state` the order is that in which it looks, before each entry and
/// before it sleeps: the first that holds is told.
enum class run_end : std::uint8_t {
    left,       ///< a handler answered verdict::leave
    stopped,    ///< the machine did
    idle,       ///< another thread waits to have it, or has it; told once
    barrier,    ///< somebody wanted it out; told once
    consistent, ///< it was asked for as soon as no instruction is half done; told once
    yield,      ///< another should have the host's processor
    debug,      ///< suspended, until it is resumed
    run_state,  ///< it halted, or waits for INIT or start-up
    inactive,   ///< it takes no part in its machine
};

/// The bit by which `run` is asked for it: none for `inactive`, which `run` alone tells.
[[nodiscard]] constexpr auto bit(run_end what) -> std::uint8_t {
    return static_cast<std::uint8_t>(1u << static_cast<unsigned>(what));
}
static_assert(bit(run_end::run_state) != 0 and bit(run_end::inactive) == 0, "a byte holds all that can be asked for");

/// What keeps a virtual processor from its next entry, or makes it look before. All fits into one byte, so that the
/// way back into the guest asks for it with everything else that it asks. Its own thread only.
class run_requests {
  public:
    /// Something moved that the next entry has to know of.
    constexpr void look() { bits_ |= just_look; }
    constexpr void look(bool whether) { bits_ |= static_cast<std::uint8_t>(whether); }
    constexpr void looked() { bits_ &= static_cast<std::uint8_t>(~just_look); }

    constexpr void ask(run_end what) { bits_ |= bit(what); }
    constexpr void withdraw(run_end what) { bits_ &= static_cast<std::uint8_t>(~bit(what)); }
    /// As they were posted, a bit each.
    constexpr void ask_all(std::uint8_t posted) { bits_ |= posted; }
    [[nodiscard]] constexpr auto has(run_end what) const -> bool { return (bits_ & bit(what)) != 0; }

    /// Not zero if an entry must look first.
    [[nodiscard]] constexpr auto waiting() const -> std::uint8_t { return bits_; }
    /// Whether there is no entry.
    [[nodiscard]] constexpr auto must_leave() const -> bool { return bits_ > just_look; }
    /// Whether somebody wants to be told although nothing would be entered.
    [[nodiscard]] constexpr auto tells() const -> bool { return (bits_ & once) != 0; }
    /// The first that keeps it out. What is told once is gone then, and whoever leaves has yielded.
    [[nodiscard]] constexpr auto take() -> run_end {
        auto const first = static_cast<std::uint8_t>(bits_ & ~just_look);
        if (first == 0)
            return run_end::left;
        auto const lowest = static_cast<std::uint8_t>(first & (0u - first));
        bits_ &= static_cast<std::uint8_t>(~((lowest & once) | bit(run_end::yield)));
        return static_cast<run_end>(std::countr_zero(lowest));
    }

  private:
    static constexpr std::uint8_t just_look{1}; ///< in the place of `left`, which nobody asks for
    static constexpr std::uint8_t once{bit(run_end::idle) | bit(run_end::barrier) | bit(run_end::consistent)};

    std::uint8_t bits_{just_look};
};

} // namespace hv
