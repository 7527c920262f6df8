// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/time.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace hv::hosted {

/// The processor that this thread plays.
inline thread_local unsigned this_processor{};

/// Stands for x87/SSE/AVX registers.
struct alignas(64) fpu_area {
    std::array<std::byte, 4096> bytes{};
};

/// One processor of the hosted host: the interrupts that wait for it, its timer, its FPU. Its thread alone uses it, but
/// others may interrupt it. An interrupt orders no memory accesses: then ThreadSanitizer sees the order that the
/// library makes itself, and no other.
class alignas(64) processor {
  public:
    // From any thread.

    void kick() {
        kicks_.fetch_add(1, std::memory_order_relaxed);
        kicked_.exchange(true, std::memory_order_relaxed);
    }
    void wake() {
        if (has_scheduler_.load(std::memory_order_relaxed))
            must_look_.store(true);
        kick();
    }
    [[nodiscard]] auto kicks() const -> std::uint64_t { return kicks_.load(std::memory_order_relaxed); }
    /// When its timer interrupts; INT64_MAX: never.
    [[nodiscard]] auto armed() const -> nanoseconds { return armed_.load(std::memory_order_relaxed); }

    // Its own thread only.

    [[nodiscard]] auto is_kicked() const -> bool { return kicked_.load(std::memory_order_relaxed); }
    void arm_timer(nanoseconds when) {
        wanted_ = when;
        arm();
    }
    void begin_slice(nanoseconds end, bool others_ready) {
        slice_end_ = end;
        others_ready_ = others_ready;
        slices_.fetch_add(1, std::memory_order_relaxed);
        arm();
    }
    [[nodiscard]] auto slice_end() const -> nanoseconds { return slice_end_; }
    /// Kicks that came until now, and the timer's interrupt if it is due.
    void take_interrupts(nanoseconds now) {
        if (is_kicked())
            kicked_.exchange(false, std::memory_order_relaxed);
        if (armed() <= now)
            armed_.store(INT64_MAX, std::memory_order_relaxed);
    }
    void begin_looking() {
        has_scheduler_.store(true, std::memory_order_relaxed);
        must_look_.store(false);
    }
    /// Who runs on it waits. The number of times is kept.
    void give_way(nanoseconds now) {
        ways_given_.fetch_add(1, std::memory_order_relaxed);
        if (others_ready_ or now >= slice_end_)
            must_look_.store(true, std::memory_order_relaxed);
    }
    /// How often the scheduler decided.
    [[nodiscard]] auto slices() const -> std::uint64_t { return slices_.load(std::memory_order_relaxed); }
    [[nodiscard]] auto ways_given() const -> std::uint64_t { return ways_given_.load(std::memory_order_relaxed); }
    [[nodiscard]] auto must_look() const -> bool { return must_look_.load(std::memory_order_relaxed); }

    /// The guest borrows the registers.
    void load_guest_fpu(fpu_area const& area) {
        if (guest_fpu_++ == 0)
            host_fpu_ = fpu;
        fpu = area;
    }
    void save_guest_fpu(fpu_area& area) {
        if (guest_fpu_ == 0)
            throw std::logic_error{"hosted: guest FPU saved that was not loaded"};
        area = fpu;
        if (--guest_fpu_ == 0)
            fpu = host_fpu_;
    }
    fpu_area fpu{};

  private:
    void arm() { armed_.store(wanted_ < slice_end_ ? wanted_ : slice_end_, std::memory_order_relaxed); }

    std::atomic<bool> kicked_{false};
    std::atomic<bool> must_look_{false};
    std::atomic<bool> has_scheduler_{false}; ///< without one nobody would ever look
    std::atomic<std::uint64_t> kicks_{};
    std::atomic<std::uint64_t> ways_given_{}, slices_{};
    std::atomic<nanoseconds> armed_{INT64_MAX};
    nanoseconds wanted_{INT64_MAX};    ///< by who runs on it
    nanoseconds slice_end_{INT64_MAX}; ///< of who runs on it
    bool others_ready_{};              ///< vCPUs that could run in its place
    fpu_area host_fpu_{};
    unsigned guest_fpu_{};
};

} // namespace hv::hosted
