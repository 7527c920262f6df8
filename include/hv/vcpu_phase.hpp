// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/status.hpp>

#include <atomic>
#include <cstdint>

namespace hv {

/// What happens to a virtual processor: nobody has it, one thread has it outside of the guest, it runs, or its thread
/// waits until it has something to do.
enum class vcpu_phase : std::uint8_t { idle, frozen, running, sleeping };

/// Whether one phase comes right after another: frozen lies between any two others.
[[nodiscard]] constexpr auto may_follow(vcpu_phase from, vcpu_phase to) -> bool {
    return (from == vcpu_phase::frozen) != (to == vcpu_phase::frozen);
}

/// The phase of a virtual processor with what belongs to it, in one word that all threads may look at: the host's
/// processor that it runs on or ran on last, and how many threads wait to have it.
class vcpu_hold {
  public:
    /// The word, at one instant.
    struct view {
        std::uint32_t word{};

        [[nodiscard]] constexpr auto phase() const -> vcpu_phase { return static_cast<vcpu_phase>(word & phase_mask); }
        [[nodiscard]] constexpr auto processor() const -> unsigned { return word >> processor_shift; }
        [[nodiscard]] constexpr auto is_wanted() const -> bool { return (word & waiters_mask) != 0; }
    };
    [[nodiscard]] auto now() const -> view { return {word_.load()}; }

    /// Nobody has it, and nobody waits.
    void reset() { word_.store(word_.load() & processor_mask); }
    /// The processor of the host that it will run on first.
    void settle(unsigned processor) {
        auto now = word_.load();
        while (not word_.compare_exchange_weak(now, (now & ~processor_mask) | processor << processor_shift))
            continue;
    }

    /// One step by who has it, or takes it while nobody does. busy, and nothing happens, if its phase is another or
    /// `to` does not come after `from`.
    auto move(vcpu_phase from, vcpu_phase to) -> status {
        return may_follow(from, to) and step(from, to) ? status::ok : status::busy;
    }

    // The thread whose turn it is to run it.

    /// To frozen, from idle or sleeping. False if somebody else has it or waits for it: then it is left to them.
    template <typename Host>
    [[nodiscard]] auto begin(Host& host) -> bool {
        if (step(vcpu_phase::idle, vcpu_phase::frozen, waiters_mask))
            return true;
        if (not step(vcpu_phase::sleeping, vcpu_phase::frozen))
            return false;
        if (not now().is_wanted())
            return true;
        rest(host, vcpu_phase::idle);
        return false;
    }
    /// From frozen to running on `processor`. False, and it stays frozen, if somebody waits for it.
    [[nodiscard]] auto enter(unsigned processor) -> bool {
        settle(processor);
        return step(vcpu_phase::frozen, vcpu_phase::running, waiters_mask);
    }
    /// From running to frozen.
    void leave() { static_cast<void>(step(vcpu_phase::running, vcpu_phase::frozen)); }
    /// From frozen to idle or sleeping; to idle in any case if somebody waits for it.
    template <typename Host>
    void rest(Host& host, vcpu_phase to) {
        if (step(vcpu_phase::frozen, to, waiters_mask))
            return;
        static_cast<void>(step(vcpu_phase::frozen, vcpu_phase::idle));
        host.announce(word_);
    }

    // Others.

    /// To frozen, as soon as it is idle. `interrupt(view)` makes a running or sleeping one look who waits.
    template <typename Host, typename Interrupt>
    void freeze(Host& host, Interrupt&& interrupt) {
        auto now = word_.fetch_add(one_waiter);
        if (view const then{now}; then.phase() == vcpu_phase::running or then.phase() == vcpu_phase::sleeping)
            interrupt();
        for (now = word_.load();;)
            if (view{now}.phase() != vcpu_phase::idle) {
                host.wait_while(word_, now);
                now = word_.load();
            } else if (word_.compare_exchange_weak(now, (now - one_waiter) | frozen)) {
                return;
            }
    }

  private:
    static constexpr std::uint32_t phase_mask{3}, one_waiter{1u << 4}, waiters_mask{0xfff0};
    static constexpr std::uint32_t processor_shift{16}, processor_mask{0xffff'0000};
    static constexpr auto frozen = static_cast<std::uint32_t>(vcpu_phase::frozen);
    static_assert(static_cast<std::uint32_t>(vcpu_phase::idle) == 0);

    [[nodiscard]] auto step(vcpu_phase from, vcpu_phase to, std::uint32_t unless = 0) -> bool {
        auto now = word_.load();
        do
            if (view{now}.phase() != from or (now & unless) != 0)
                return false;
        while (not word_.compare_exchange_weak(now, (now & ~phase_mask) | static_cast<std::uint32_t>(to)));
        return true;
    }

    std::atomic<std::uint32_t> word_{};
};

} // namespace hv
