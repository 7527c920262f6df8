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
/// processor that it runs on or ran on last, how many threads wait to have it, whether one waits for it to look at the
/// machine, and whether it stands aside while its own thread waits for the machine's lock.
class vcpu_hold {
  public:
    /// The word, at one instant.
    struct view {
        std::uint32_t word{};

        [[nodiscard]] constexpr auto phase() const -> vcpu_phase { return static_cast<vcpu_phase>(word & phase_mask); }
        /// Whether nobody has it, not even its own thread.
        [[nodiscard]] constexpr auto is_free() const -> bool {
            return phase() == vcpu_phase::idle or phase() == vcpu_phase::sleeping;
        }
        [[nodiscard]] constexpr auto processor() const -> unsigned { return word >> processor_shift; }
        [[nodiscard]] constexpr auto is_wanted() const -> bool { return (word & waiters_mask) != 0; }
        [[nodiscard]] constexpr auto stands_aside() const -> bool { return (word & aside) != 0; }
        [[nodiscard]] constexpr auto is_asked() const -> bool { return (word & asked) != 0; }
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

    // It belongs to `processor` then: whoever wakes it wakes that one.

    /// To frozen, from idle or sleeping. False if somebody else has it or waits for it: then it is left to them.
    [[nodiscard]] auto begin(unsigned processor) -> bool { return take(frozen, processor); }
    /// By way of frozen to running, at once. False as `begin`.
    [[nodiscard]] auto start(unsigned processor) -> bool { return take(running, processor); }
    /// From running by way of frozen to idle, at once.
    template <typename Host>
    void end(Host& host) {
        leave(host, static_cast<std::uint32_t>(vcpu_phase::idle));
    }
    /// From frozen to idle or sleeping; to idle in any case if somebody waits for it.
    template <typename Host>
    void rest(Host& host, vcpu_phase to) {
        if (step(vcpu_phase::frozen, to, waiters_mask))
            return;
        static_cast<void>(step(vcpu_phase::frozen, vcpu_phase::idle));
        host.announce(word_);
    }

    /// A running one looks at what is asked of it. False: somebody wants to have it.
    template <typename Host>
    [[nodiscard]] auto look(Host& host) -> bool {
        if (now().is_asked()) [[unlikely]] {
            word_.fetch_and(~asked);
            host.announce(word_);
        }
        return not now().is_wanted();
    }
    /// A running one is frozen until it comes back, while its own thread waits for the machine's lock or has it.
    template <typename Host>
    void stand_aside(Host& host) {
        leave(host, frozen | aside);
    }
    template <typename Host>
    void come_back(Host& host) {
        auto now = word_.load();
        while (not word_.compare_exchange_weak(now, (now & ~(phase_mask | aside)) | running))
            continue;
        host.announce(word_);
    }

    // Others.

    /// Waits for it from now on; `wait` follows. True if it runs: then the caller makes it look who waits.
    [[nodiscard]] auto want() -> bool { return view{word_.fetch_add(one_waiter)}.phase() == vcpu_phase::running; }
    /// To frozen, as soon as it is idle or sleeping: its own thread need not do anything for that, and may be the
    /// caller's. False, and nobody has it but its own thread, if that is `content` when it stands aside.
    template <typename Host>
    auto wait(Host& host, bool content) -> bool {
        for (auto now = word_.load();;)
            if (bool const is_aside{content and view{now}.stands_aside()}; not is_aside and not view{now}.is_free()) {
                host.wait_while(word_, now);
                now = word_.load();
            } else if (word_.compare_exchange_weak(now, ((now - one_waiter) & ~phase_mask) | frozen)) {
                return not is_aside;
            }
    }
    template <typename Host>
    void wait_while_aside(Host& host) {
        for (auto now = word_.load(); view{now}.stands_aside(); now = word_.load())
            host.wait_while(word_, now);
    }
    /// Asks a running one to look at the machine; false if it is not running. The caller makes it look.
    [[nodiscard]] auto ask() -> bool {
        auto now = word_.load();
        do
            if (view{now}.phase() != vcpu_phase::running)
                return false;
        while (not word_.compare_exchange_weak(now, now | asked));
        return true;
    }
    /// Until it has looked, or runs no longer.
    template <typename Host>
    void wait_for_look(Host& host) {
        for (auto now = word_.load(); view{now}.is_asked(); now = word_.load())
            host.wait_while(word_, now);
    }

  private:
    [[nodiscard]] auto take(std::uint32_t to, unsigned processor) -> bool {
        auto now = word_.load();
        do
            if (not view{now}.is_free() or view{now}.is_wanted())
                return false;
        while (not word_.compare_exchange_weak(now, (now & ~(phase_mask | processor_mask)) | to |
                                                        processor << processor_shift));
        return true;
    }
    template <typename Host>
    void leave(Host& host, std::uint32_t to) {
        auto now = word_.load();
        while (not word_.compare_exchange_weak(now, (now & ~(phase_mask | asked)) | to))
            continue;
        if ((now & (asked | waiters_mask)) != 0)
            host.announce(word_);
    }

    static constexpr std::uint32_t phase_mask{3}, aside{1u << 2}, asked{1u << 3};
    static constexpr std::uint32_t one_waiter{1u << 4}, waiters_mask{0xfff0};
    static constexpr std::uint32_t processor_shift{16}, processor_mask{0xffff'0000};
    static constexpr auto frozen = static_cast<std::uint32_t>(vcpu_phase::frozen);
    static constexpr auto running = static_cast<std::uint32_t>(vcpu_phase::running);
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
