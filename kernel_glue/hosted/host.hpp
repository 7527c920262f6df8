// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/host.hpp>
#include <hv/lock_order.hpp>
#include <kernel_glue/hosted/arena.hpp>
#include <kernel_glue/hosted/lock.hpp>
#include <kernel_glue/hosted/processor.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cpuid.h>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

/// The host in user space: for tests, sanitizers, fuzzing and benchmarks.
namespace hv::hosted {

/// What `panic` throws, so that a test can expect it.
struct panicked : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// What this thread holds.
inline thread_local locks_held locks_of_this_thread{};

/// Fixed properties of a hosted host.
struct host_config {
    std::size_t memory{std::size_t{8} << 30}; ///< bytes of physical memory; only what is touched costs anything
    unsigned processors{1};
    std::uint64_t tsc_frequency{2'400'000'000}; ///< Hz; not 1 GHz, so that ticks and nanoseconds differ
    std::vector<std::int64_t> tsc_leads{};      ///< ticks that RDTSC of each processor is ahead; 0 for the rest
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
    using fpu_area = hosted::fpu_area;

    explicit basic_host(host_config config = {})
        : config_{config}, memory_{config.memory}, processors_(config.processors) {}

    // Memory.
    auto allocate(std::size_t bytes, std::size_t alignment) -> void* {
        std::unique_lock const hold{memory_mutex_};
        ++attempts_;
        if (allowed_ == 0)
            return nullptr;
        if (allowed_ != unlimited)
            --allowed_;
        return memory_.allocate(bytes, alignment);
    }
    void free(void* memory, std::size_t bytes) {
        std::unique_lock const hold{memory_mutex_};
        memory_.free(memory, bytes);
    }
    auto physical(void* memory) -> hpa {
        std::shared_lock const hold{memory_mutex_};
        return memory_.physical(memory);
    }
    auto pointer(hpa physical) -> void* {
        std::shared_lock const hold{memory_mutex_};
        return memory_.pointer(physical);
    }

    // Processor.
    auto processor() -> unsigned { return this_processor; }
    auto processor_count() -> unsigned { return config_.processors; }
    auto cpuid(std::uint32_t leaf, std::uint32_t subleaf) -> x86::cpuid_result {
        guard const hold{registers_mutex_};
        if (auto const found = cpuid_.find({leaf, subleaf}); found != cpuid_.end())
            return found->second;
        x86::cpuid_result r{};
        if (config_.real_cpuid)
            __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
        return r;
    }
    auto read_msr(std::uint32_t index) -> result<std::uint64_t> {
        guard const hold{registers_mutex_};
        auto const found = msrs_.find(index);
        if (found == msrs_.end())
            return status::no_device;
        return found->second;
    }
    auto write_msr(std::uint32_t index, std::uint64_t value) -> status {
        guard const hold{registers_mutex_};
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
    auto tsc_lead() -> std::int64_t {
        return this_processor < config_.tsc_leads.size() ? config_.tsc_leads[this_processor] : 0;
    }
    auto tsc_frequency() -> std::uint64_t { return config_.tsc_frequency; }
    auto wall_clock() -> std::int64_t { return wall_clock_zero_.load() + now(); }

    // Interrupts.
    void arm_timer(nanoseconds when) { self().arm_timer(when); }
    void take_interrupts() {
        interrupt_windows_.fetch_add(1, std::memory_order_relaxed);
        self().take_interrupts(now());
    }
    /// Until a kick or the timer, and takes both. A clock that stands jumps to the armed timer; with none armed, idle
    /// returns at once.
    void idle() {
        idles_.fetch_add(1, std::memory_order_relaxed);
        auto& me = self();
        if (not config_.real_time) {
            if (not me.is_kicked() and me.armed() != INT64_MAX)
                now_.store(std::max(now_.load(), me.armed()));
            return;
        }
        for (unsigned looks{0}; not interrupt_waits(); ++looks)
            if (looks < 64)
                std::this_thread::yield();
            else
                std::this_thread::sleep_for(std::chrono::microseconds{20});
        me.take_interrupts(now());
    }
    /// Whether an interrupt would end the guest's stay. On a clock that stands the test plays the timer's.
    [[nodiscard]] auto interrupt_waits() -> bool {
        auto const& me = self();
        return me.is_kicked() or (config_.real_time and me.armed() <= now());
    }
    auto is_woken() -> bool { return self().must_look(); }
    auto should_yield() -> bool { return self().must_look() or now() >= self().slice_end(); }
    void give_way() { self().give_way(now()); }
    void wake(unsigned processor) { processors_.at(processor).wake(); }
    void kick(unsigned processor) { processors_.at(processor).kick(); }

    void wait_while(std::atomic<std::uint32_t> const& word, std::uint32_t value) { word.wait(value); }
    void announce(std::atomic<std::uint32_t>& word) { word.notify_all(); }

    [[nodiscard]] auto locks_held() -> hv::locks_held& { return locks_of_this_thread; }

    // For a scheduler of vCPUs: whoever is woken from now on counts; how long the next may run.
    void begin_looking() { self().begin_looking(); }
    void begin_slice(nanoseconds end, bool others_ready) { self().begin_slice(end, others_ready); }

    // Guest FPU: one register file a processor, which the guest borrows.
    void load_guest_fpu(fpu_area& area) { self().load_guest_fpu(area); }
    void save_guest_fpu(fpu_area& area) { self().save_guest_fpu(area); }

    // Console and diagnostics.
    void put(std::uint8_t stream, std::uint8_t byte) {
        guard const hold{console_mutex_};
        output_[stream].push_back(static_cast<char>(byte));
    }
    auto get() -> int {
        guard const hold{console_mutex_};
        if (input_.empty())
            return -1;
        auto const byte = input_.front();
        input_.pop_front();
        return byte;
    }
    void log(std::string_view line) {
        guard const hold{console_mutex_};
        log_.emplace_back(line);
    }
    void panic(std::string_view text) { throw panicked{std::string{text}}; }

    // From here on: the test's side.

    static constexpr std::uint64_t unlimited{UINT64_MAX};
    /// The next `n` allocations succeed, later ones fail, until told otherwise.
    void fail_after(std::uint64_t n) {
        std::unique_lock const hold{memory_mutex_};
        allowed_ = n;
    }
    [[nodiscard]] auto attempted_allocations() -> std::uint64_t {
        std::shared_lock const hold{memory_mutex_};
        return attempts_;
    }
    [[nodiscard]] auto allocations() -> std::size_t {
        std::shared_lock const hold{memory_mutex_};
        return memory_.allocations();
    }
    [[nodiscard]] auto bytes_in_use() -> std::size_t {
        std::shared_lock const hold{memory_mutex_};
        return memory_.bytes_in_use();
    }

    void set_now(nanoseconds when) { now_.store(when); }
    void advance(nanoseconds by) { now_.fetch_add(by); }
    /// Nanoseconds since 1970 at `now() == 0`.
    void set_wall_clock_zero(std::int64_t when) { wall_clock_zero_.store(when); }

    void set_cpuid(std::uint32_t leaf, std::uint32_t subleaf, x86::cpuid_result value) {
        guard const hold{registers_mutex_};
        cpuid_[{leaf, subleaf}] = value;
    }
    /// Makes the MSR exist.
    void set_msr(std::uint32_t index, std::uint64_t value) {
        guard const hold{registers_mutex_};
        msrs_[index] = value;
    }
    [[nodiscard]] auto msr_writes() { return locked(registers_mutex_, msr_writes_); }

    /// When the timer of a processor fires, if it is armed.
    [[nodiscard]] auto timer(unsigned processor = 0) -> std::optional<nanoseconds> {
        auto const when = processors_.at(processor).armed();
        return when == INT64_MAX ? std::nullopt : std::optional{when};
    }
    [[nodiscard]] auto kicks(unsigned processor) -> std::uint64_t { return processors_.at(processor).kicks(); }
    [[nodiscard]] auto slices(unsigned processor) -> std::uint64_t { return processors_.at(processor).slices(); }
    [[nodiscard]] auto ways_given(unsigned processor) -> std::uint64_t {
        return processors_.at(processor).ways_given();
    }
    [[nodiscard]] auto idles() -> std::uint64_t { return idles_.load(std::memory_order_relaxed); }
    [[nodiscard]] auto interrupt_windows() -> std::uint64_t {
        return interrupt_windows_.load(std::memory_order_relaxed);
    }

    /// Of the processor that this thread plays.
    [[nodiscard]] auto fpu() -> fpu_area { return self().fpu; }
    void set_fpu(fpu_area const& area) { self().fpu = area; }

    /// Everything that was put on a stream since the start.
    [[nodiscard]] auto output(std::uint8_t stream = 0) -> std::string {
        guard const hold{console_mutex_};
        return output_[stream];
    }
    void feed(std::string_view text) {
        guard const hold{console_mutex_};
        for (auto const c : text)
            input_.push_back(static_cast<std::uint8_t>(c));
    }
    [[nodiscard]] auto log_lines() { return locked(console_mutex_, log_); }

  private:
    using clock = std::chrono::steady_clock;
    using guard = std::lock_guard<std::mutex>;

    template <typename T>
    static auto locked(std::mutex& by, T const& member) -> T {
        guard const hold{by};
        return member;
    }
    auto self() -> hosted::processor& { return processors_.at(this_processor); }

    host_config config_;
    std::shared_mutex memory_mutex_{};
    arena memory_;
    std::uint64_t allowed_{unlimited};
    std::uint64_t attempts_{};
    std::vector<hosted::processor> processors_;
    clock::time_point start_{clock::now()};
    std::atomic<nanoseconds> now_{};
    std::atomic<std::int64_t> wall_clock_zero_{};
    std::atomic<std::uint64_t> idles_{}, interrupt_windows_{};
    std::mutex registers_mutex_{};
    std::map<std::pair<std::uint32_t, std::uint32_t>, x86::cpuid_result> cpuid_{};
    std::map<std::uint32_t, std::uint64_t> msrs_{};
    std::vector<std::pair<std::uint32_t, std::uint64_t>> msr_writes_{};
    std::mutex console_mutex_{};
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
