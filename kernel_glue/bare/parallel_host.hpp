// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "host.hpp"
#include "processors.hpp"

#include <hv/host.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv::bare {

/// The kernel under an image whose machine has several vCPUs: all processors of the board, up to a number, one thread
/// each. Models hv::host. What the single host has of a processor's own stands in `processor` here.
class parallel_host {
  public:
    static constexpr bool callers_are_serial{false};
    static constexpr bool keeps_cr2{true}; // its page faults are panics
    static constexpr std::size_t most_processors{64};

    using fpu_area = bare::fpu_area;

    /// Interrupts are off while the library runs, so a holder is never interrupted for long.
    class lock {
      public:
        void acquire() {
            while (held_.exchange(true, std::memory_order_acquire))
                while (held_.load(std::memory_order_relaxed))
                    asm volatile("pause");
        }
        void release() { held_.store(false, std::memory_order_release); }

      private:
        std::atomic<bool> held_{false};
    };

    constexpr explicit parallel_host(host& of) : base_{of} {}

    /// Brings up to `count` processors up, the present one included.
    void start(std::size_t count) {
        auto const there = base_.board().processor_count == 0 ? 1 : base_.board().processor_count;
        count = count < there ? count : there;
        count = count < most_processors ? count : most_processors;
        up_ = start_processors(base_, std::span{processors_}.first(count == 0 ? 1 : count));
        for (auto& one : std::span{processors_}.first(up_))
            one.stands.store(standing::counted, std::memory_order_release);
    }

    [[nodiscard]] auto allocate(std::size_t bytes, std::size_t alignment) -> void* {
        holding const held{memory_lock_};
        return base_.allocate(bytes, alignment);
    }
    void free(void* memory, std::size_t bytes) {
        holding const held{memory_lock_};
        base_.free(memory, bytes);
    }
    [[nodiscard]] auto physical(void const* memory) const -> hpa { return base_.physical(memory); }
    [[nodiscard]] auto pointer(hpa address) const -> void* { return base_.pointer(address); }

    [[nodiscard]] auto processor() const -> unsigned { return this_processor_number(); }
    [[nodiscard]] auto processor_count() const -> unsigned { return static_cast<unsigned>(up_); }
    [[nodiscard]] auto cpuid(std::uint32_t leaf, std::uint32_t subleaf) const -> x86::cpuid_result {
        return base_.cpuid(leaf, subleaf);
    }
    [[nodiscard]] auto read_msr(std::uint32_t index) -> result<std::uint64_t> { return base_.read_msr(index); }
    auto write_msr(std::uint32_t index, std::uint64_t value) -> status { return base_.write_msr(index, value); }

    [[nodiscard]] auto now() const -> nanoseconds { return base_.clock().at(tsc()); }
    /// That of the first processor, wherever this runs.
    [[nodiscard]] auto tsc() const -> std::uint64_t { return read_tsc() - static_cast<std::uint64_t>(tsc_lead()); }
    [[nodiscard]] auto tsc_lead() const -> std::int64_t { return this_processor().tsc_lead; }
    /// How the counter of a processor differs from the first's.
    [[nodiscard]] auto difference(unsigned number) const -> tsc_difference { return processors_[number].compared; }
    [[nodiscard]] auto tsc_frequency() const -> std::uint64_t { return base_.tsc_frequency(); }
    [[nodiscard]] auto wall_clock() const -> std::int64_t { return base_.wall_clock_at_zero() + now(); }

    void arm_timer(nanoseconds when) {
        auto& self = this_processor();
        self.wanted = when;
        arm(self);
    }
    void take_interrupts() { base_.take_interrupts(); }
    void idle() { base_.idle(); }
    void kick(unsigned number) { base_.apic().send_interrupt(processors_[number].apic_id, vector::kick); }
    void wake(unsigned number) {
        processors_[number].must_look = true;
        if (number != processor())
            kick(number);
    }
    [[nodiscard]] auto is_woken() const -> bool { return this_processor().must_look.load(std::memory_order_relaxed); }
    /// Whether the time of who runs on this processor is over, or somebody else of it was woken.
    [[nodiscard]] auto should_yield() const -> bool {
        auto const& self = this_processor();
        return self.must_look.load(std::memory_order_relaxed) or now() >= self.slice_end;
    }
    void give_way() {
        if (auto& self = this_processor(); self.others_ready or should_yield())
            self.must_look.store(true, std::memory_order_relaxed);
    }
    /// From now on a `wake` counts again.
    void begin_looking() { this_processor().must_look = false; }
    /// When the time of who runs next on this processor is over, and whether others would run in its place.
    void begin_slice(nanoseconds end, bool others_ready) {
        auto& self = this_processor();
        self.slice_end = end;
        self.others_ready = others_ready;
        arm(self);
    }

    void wait_while(std::atomic<std::uint32_t> const& word, std::uint32_t value) {
        while (word.load(std::memory_order_acquire) == value)
            asm volatile("pause");
    }
    void announce(std::atomic<std::uint32_t>&) {}
#ifndef NDEBUG
    [[nodiscard]] auto locks_held() -> hv::locks_held& { return this_processor().locks; }
#endif

    void load_guest_fpu(fpu_area& area) {
        leave_out_initial_x87(area);
        base_.load_guest_fpu(area);
    }
    void save_guest_fpu(fpu_area& area) { base_.save_guest_fpu(area); }

    void put(std::uint8_t stream, std::uint8_t byte) {
        holding const held{console_lock_};
        base_.put(stream, byte);
    }
    /// Input arrives on the first processor: only there.
    [[nodiscard]] auto get() -> int {
        if (processor() == 0)
            return base_.get();
        kick(0);
        return -1;
    }

    void log(std::string_view line) {
        holding const held{console_lock_};
        base_.log(line);
    }
    [[noreturn, gnu::cold]] void panic(std::string_view why) { base_.panic(why); }

    [[nodiscard]] auto base() -> host& { return base_; }

    /// Makes changes of the page tables count on all processors, when it returns. Not while holding a lock that another
    /// waits for.
    void flush_translations() { flush_others(base_, std::span{processors_}.first(up_)); }

    /// What the host leaves to whoever has several processors.
    void serve(std::uint8_t which) {
        if (which == vector::processor_timer)
            serve_timer();
        else if (which == vector::processor_call)
            serve_calls(this_processor());
        else if (failing_.load() != nullptr) // an NMI
            stop();
    }

    /// The present processor fails and is to print why: the others stop, wherever they are. If another was first, this
    /// one does.
    [[gnu::cold]] void stop_others() {
        if (up_ == 1)
            return;
        auto& self = this_processor();
        bare::processor* first{nullptr};
        if (not failing_.compare_exchange_strong(first, &self)) {
            if (first != &self)
                stop();
            return;
        }
        for (auto const& other : std::span{processors_}.first(up_))
            if (&other != &self)
                base_.apic().send_nmi(other.apic_id);
    }

  private:
    /// The interrupt of a processor's timer. Its counter may have been too short, or a little fast: then it goes on.
    void serve_timer() {
        auto& self = this_processor();
        if (self.armed != INT64_MAX and now() < self.armed)
            return base_.apic().interrupt_at(own_tsc_at(self.armed));
        ++self.timer_interrupts;
        self.armed = INT64_MAX;
    }

    class holding {
      public:
        explicit holding(lock& l) : lock_{l} { lock_.acquire(); }
        ~holding() { lock_.release(); }
        holding(holding const&) = delete;
        auto operator=(holding const&) -> holding& = delete;

      private:
        lock& lock_;
    };

    /// What RDTSC of this processor reads at an instant.
    [[nodiscard]] auto own_tsc_at(nanoseconds when) const -> std::uint64_t {
        return base_.clock().tsc_at(when) + static_cast<std::uint64_t>(tsc_lead());
    }

    void arm(bare::processor& self) {
        auto const when = self.wanted < self.slice_end ? self.wanted : self.slice_end;
        if (when == self.armed)
            return;
        self.armed = when;
        if (when == INT64_MAX)
            base_.apic().no_interrupt();
        else
            base_.apic().interrupt_at(own_tsc_at(when));
    }

    host& base_;
    lock memory_lock_{};
    lock console_lock_{};
    std::atomic<bare::processor*> failing_{nullptr}; ///< it alone prints
    std::size_t up_{1};
    std::array<bare::processor, most_processors> processors_{};
};
static_assert(hv::host<parallel_host>);

} // namespace hv::bare
