// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <cstdint>

namespace hv {

/// The lock of a machine: one thread has it exclusively, or several share it. Who waits for it exclusively lets no more
/// in that would share it.
class machine_lock {
  public:
    template <typename Host>
    void acquire(Host& host) {
        for (auto now = word_.load();;)
            if ((now & ~awaited) == 0) {
                if (word_.compare_exchange_weak(now, exclusive)) // who else waits asks again
                    return;
            } else if ((now & awaited) == 0) {
                static_cast<void>(word_.compare_exchange_weak(now, now | awaited));
            } else {
                host.wait_while(word_, now);
                now = word_.load();
            }
    }
    template <typename Host>
    void release(Host& host) {
        word_.fetch_and(~exclusive);
        host.announce(word_);
    }

    template <typename Host>
    void acquire_shared(Host& host) {
        for (auto now = word_.load();;)
            if ((now & (exclusive | awaited)) == 0) {
                if (word_.compare_exchange_weak(now, now + 1))
                    return;
            } else {
                host.wait_while(word_, now);
                now = word_.load();
            }
    }
    template <typename Host>
    void release_shared(Host& host) {
        word_.fetch_sub(1);
        host.announce(word_);
    }

  private:
    static constexpr std::uint32_t exclusive{1u << 31}, awaited{1u << 30}; ///< below: how many share it

    std::atomic<std::uint32_t> word_{};
};

} // namespace hv
