// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/host.hpp>
#include <kernel_glue/hosted/arena.hpp>
#include <kernel_glue/hosted/lock.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cpuid.h>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/// The host in user space: for tests, sanitizers, fuzzing and benchmarks.
namespace hv::hosted {

/// What `panic` throws, so that a test can expect it.
struct panicked : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The processor that this thread plays.
inline thread_local unsigned this_processor{};

/// Fixed properties of a hosted host.
struct host_config {
    std::size_t memory{std::size_t{8} << 30}; ///< bytes of physical memory; only what is touched costs anything
    unsigned processors{1};
    std::uint64_t tsc_frequency{2'400'000'000}; ///< Hz; not 1 GHz, so that ticks and nanoseconds differ
    bool real_time{};                           ///< the clock runs by itself; else it stands until a test moves it
    bool real_cpuid{};                          ///< CPUID of this processor; else what `set_cpuid` put in
};

/// Models hv::host. Everything the library asks for is recorded and can be read back; everything it is told can be set.
/// All members may be called from several threads.
template <bool CallersAreSerial>
class basic_host {
  public:
    static constexpr bool callers_are_serial{CallersAreSerial};
    using lock = std::conditional_t<CallersAreSerial, serial_lock, owned_lock>;
    /// Stands for x87/SSE/AVX registers.
    struct alignas(64) fpu_area {
        std::array<std::byte, 4096> bytes{};
    };

    explicit basic_host(host_config config = {})
        : config_{config}, memory_{config.memory}, timers_(config.processors, INT64_MAX), kicked_(config.processors),
          kicks_(config.processors) {}

    // Memory.
    auto allocate(std::size_t bytes, std::size_t alignment) -> void* {
        guard const hold{mutex_};
        ++attempts_;
        if (allowed_ == 0)
            return nullptr;
        if (allowed_ != unlimited)
            --allowed_;
        return memory_.allocate(bytes, alignment);
    }
    void free(void* memory, std::size_t bytes) {
        guard const hold{mutex_};
        memory_.free(memory, bytes);
    }
    auto physical(void* memory) -> hpa {
        guard const hold{mutex_};
        return memory_.physical(memory);
    }
    auto pointer(hpa physical) -> void* {
        guard const hold{mutex_};
        return memory_.pointer(physical);
    }

    // Processor.
    auto processor() -> unsigned { return this_processor; }
    auto processor_count() -> unsigned { return config_.processors; }
    auto cpuid(std::uint32_t leaf, std::uint32_t subleaf) -> x86::cpuid_result {
        guard const hold{mutex_};
        if (auto const found = cpuid_.find({leaf, subleaf}); found != cpuid_.end())
            return found->second;
        x86::cpuid_result r{};
        if (config_.real_cpuid)
            __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
        return r;
    }
    auto read_msr(std::uint32_t index) -> result<std::uint64_t> {
        guard const hold{mutex_};
        auto const found = msrs_.find(index);
        if (found == msrs_.end())
            return status::no_device;
        return found->second;
    }
    auto write_msr(std::uint32_t index, std::uint64_t value) -> status {
        guard const hold{mutex_};
        auto const found = msrs_.find(index);
        if (found == msrs_.end())
            return status::no_device;
        found->second = value;
        msr_writes_.emplace_back(index, value);
        return status::ok;
    }

    // Time.
    auto now() -> nanoseconds {
        if (not config_.real_time)
            return now_.load();
        return std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - start_).count();
    }
    auto tsc() -> std::uint64_t { return ticks_in(now(), config_.tsc_frequency); }
    auto tsc_frequency() -> std::uint64_t { return config_.tsc_frequency; }
    auto wall_clock() -> std::int64_t { return wall_clock_zero_.load() + now(); }

    // Interrupts.
    void arm_timer(nanoseconds when) {
        guard const hold{mutex_};
        timers_.at(this_processor) = when;
    }
    void take_interrupts() {
        guard const hold{mutex_};
        ++interrupt_windows_;
        kicked_.at(this_processor) = false;
        if (timers_.at(this_processor) <= now())
            timers_.at(this_processor) = INT64_MAX;
    }
    /// Until a kick or the timer. A clock that stands jumps to the armed timer; with none armed, idle returns at once.
    void idle() {
        std::unique_lock hold{mutex_};
        ++idles_;
        auto const me = this_processor;
        if (not config_.real_time) {
            if (not kicked_.at(me) and timers_.at(me) != INT64_MAX)
                now_.store(std::max(now_.load(), timers_.at(me)));
            return;
        }
        auto const interrupted = [&] { return kicked_.at(me) or timers_.at(me) <= now(); };
        while (not interrupted()) {
            auto const left = timers_.at(me) == INT64_MAX ? nanoseconds_per_second : timers_.at(me) - now();
            wake_.wait_for(hold, std::chrono::nanoseconds{std::min(left, nanoseconds_per_second)}, interrupted);
        }
    }
    auto is_woken() -> bool { return false; }
    auto should_yield() -> bool { return false; }
    void wake(unsigned processor) { kick(processor); }
    void kick(unsigned processor) {
        {
            guard const hold{mutex_};
            kicked_.at(processor) = true;
            ++kicks_.at(processor);
        }
        wake_.notify_all();
    }

    void wait_while(std::atomic<std::uint32_t> const& word, std::uint32_t value) { word.wait(value); }
    void announce(std::atomic<std::uint32_t>& word) { word.notify_all(); }

    // Guest FPU: one register file a host, which the guest borrows.
    void load_guest_fpu(fpu_area& area) {
        guard const hold{mutex_};
        if (guest_fpu_++ == 0)
            host_fpu_ = fpu_;
        fpu_ = area;
    }
    void save_guest_fpu(fpu_area& area) {
        guard const hold{mutex_};
        if (guest_fpu_ == 0)
            throw std::logic_error{"hosted: guest FPU saved that was not loaded"};
        area = fpu_;
        if (--guest_fpu_ == 0)
            fpu_ = host_fpu_;
    }

    // Console and diagnostics.
    void put(std::uint8_t stream, std::uint8_t byte) {
        guard const hold{mutex_};
        output_[stream].push_back(static_cast<char>(byte));
    }
    auto get() -> int {
        guard const hold{mutex_};
        if (input_.empty())
            return -1;
        auto const byte = input_.front();
        input_.pop_front();
        return byte;
    }
    void log(std::string_view line) {
        guard const hold{mutex_};
        log_.emplace_back(line);
    }
    void panic(std::string_view text) { throw panicked{std::string{text}}; }

    // From here on: the test's side.

    static constexpr std::uint64_t unlimited{UINT64_MAX};
    /// The next `n` allocations succeed, later ones fail, until told otherwise.
    void fail_after(std::uint64_t n) {
        guard const hold{mutex_};
        allowed_ = n;
    }
    [[nodiscard]] auto attempted_allocations() -> std::uint64_t { return locked(attempts_); }
    [[nodiscard]] auto allocations() -> std::size_t {
        guard const hold{mutex_};
        return memory_.allocations();
    }
    [[nodiscard]] auto bytes_in_use() -> std::size_t {
        guard const hold{mutex_};
        return memory_.bytes_in_use();
    }

    void set_now(nanoseconds when) { now_.store(when); }
    void advance(nanoseconds by) { now_.fetch_add(by); }
    /// Nanoseconds since 1970 at `now() == 0`.
    void set_wall_clock_zero(std::int64_t when) { wall_clock_zero_.store(when); }

    void set_cpuid(std::uint32_t leaf, std::uint32_t subleaf, x86::cpuid_result value) {
        guard const hold{mutex_};
        cpuid_[{leaf, subleaf}] = value;
    }
    /// Makes the MSR exist.
    void set_msr(std::uint32_t index, std::uint64_t value) {
        guard const hold{mutex_};
        msrs_[index] = value;
    }
    [[nodiscard]] auto msr_writes() { return locked(msr_writes_); }

    /// When the timer of a processor fires, if it is armed.
    [[nodiscard]] auto timer(unsigned processor = 0) -> std::optional<nanoseconds> {
        guard const hold{mutex_};
        auto const when = timers_.at(processor);
        return when == INT64_MAX ? std::nullopt : std::optional{when};
    }
    [[nodiscard]] auto kicks(unsigned processor) -> std::uint64_t {
        guard const hold{mutex_};
        return kicks_.at(processor);
    }
    [[nodiscard]] auto idles() -> std::uint64_t { return locked(idles_); }
    [[nodiscard]] auto interrupt_windows() -> std::uint64_t { return locked(interrupt_windows_); }

    [[nodiscard]] auto fpu() -> fpu_area { return locked(fpu_); }
    void set_fpu(fpu_area const& area) {
        guard const hold{mutex_};
        fpu_ = area;
    }

    /// Everything that was put on a stream since the start.
    [[nodiscard]] auto output(std::uint8_t stream = 0) -> std::string {
        guard const hold{mutex_};
        return output_[stream];
    }
    void feed(std::string_view text) {
        guard const hold{mutex_};
        for (auto const c : text)
            input_.push_back(static_cast<std::uint8_t>(c));
    }
    [[nodiscard]] auto log_lines() { return locked(log_); }

  private:
    using clock = std::chrono::steady_clock;
    using guard = std::lock_guard<std::mutex>;

    template <typename T>
    auto locked(T const& member) -> T {
        guard const hold{mutex_};
        return member;
    }

    host_config config_;
    std::mutex mutex_{};
    std::condition_variable wake_{};
    arena memory_;
    std::uint64_t allowed_{unlimited};
    std::uint64_t attempts_{};
    clock::time_point start_{clock::now()};
    std::atomic<nanoseconds> now_{};
    std::atomic<std::int64_t> wall_clock_zero_{};
    std::map<std::pair<std::uint32_t, std::uint32_t>, x86::cpuid_result> cpuid_{};
    std::map<std::uint32_t, std::uint64_t> msrs_{};
    std::vector<std::pair<std::uint32_t, std::uint64_t>> msr_writes_{};
    std::vector<nanoseconds> timers_;
    std::vector<char> kicked_;
    std::vector<std::uint64_t> kicks_;
    std::uint64_t idles_{};
    std::uint64_t interrupt_windows_{};
    fpu_area fpu_{};
    fpu_area host_fpu_{};
    unsigned guest_fpu_{};
    std::map<std::uint8_t, std::string> output_{};
    std::deque<std::uint8_t> input_{};
    std::vector<std::string> log_{};
};

/// Several threads, real locks.
using host = basic_host<false>;
/// One thread, empty locks: what a bare host with one processor promises.
using serial_host = basic_host<true>;

static_assert(hv::host<host> and hv::host<serial_host>);

} // namespace hv::hosted
