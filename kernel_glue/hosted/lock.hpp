// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace hv::hosted {

/// A real lock that knows its owner, so that a second acquire by the same thread fails instead of hanging. The mutex
/// alone orders memory accesses.
class owned_lock {
  public:
    void acquire() {
        if (owner_.load(std::memory_order_relaxed) == std::this_thread::get_id())
            throw std::logic_error{"hosted: lock acquired twice by one thread"};
        mutex_.lock();
        owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    }
    void release() {
        if (owner_.load(std::memory_order_relaxed) != std::this_thread::get_id())
            throw std::logic_error{"hosted: lock released by a thread that does not hold it"};
        owner_.store(std::thread::id{}, std::memory_order_relaxed);
        mutex_.unlock();
    }

  private:
    std::mutex mutex_{};
    std::atomic<std::thread::id> owner_{};
};

/// The lock of a host whose callers are serial: nothing but the same two checks.
class serial_lock {
  public:
    void acquire() {
        if (held_)
            throw std::logic_error{"hosted: lock acquired twice"};
        held_ = true;
    }
    void release() {
        if (not held_)
            throw std::logic_error{"hosted: lock released that nobody holds"};
        held_ = false;
    }

  private:
    bool held_{};
};

} // namespace hv::hosted
