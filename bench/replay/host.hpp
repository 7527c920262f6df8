// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/replay/record.hpp>

#include <hv/address.hpp>
#include <hv/host.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>
#include <kernel_glue/bare/tsc_clock.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string_view>
#include <sys/mman.h>
#include <vector>

namespace hv::replay {

/// The least host there is, for one thread: what it does costs next to nothing. Its clock stands where the recording
/// stood, and moves only while the guest halts.
class host {
  public:
    static constexpr bool callers_are_serial{true};
    struct fpu_area {};
    struct lock {
        void acquire() {}
        void release() {}
    };

    host(std::uint64_t frequency, std::vector<cpuid_leaf> leaves) : clock_{frequency, 0}, leaves_{std::move(leaves)} {
        auto* const mapped = ::mmap(nullptr, size + alignment, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED)
            throw std::bad_alloc{};
        auto const start = reinterpret_cast<std::uintptr_t>(mapped);
        base_ = static_cast<std::byte*>(mapped) + (alignment - start % alignment);
    }
    host(host const&) = delete;
    auto operator=(host const&) -> host& = delete;

    auto allocate(std::size_t bytes, std::size_t aligned) -> void* {
        auto const at = (used_ + aligned - 1) & ~(aligned - 1);
        if (at > size or bytes > size - at)
            return nullptr;
        used_ = at + bytes;
        return base_ + at;
    }
    void free(void*, std::size_t) {} // see `reset`
    auto physical(void const* memory) -> hpa {
        return hpa{static_cast<std::uint64_t>(static_cast<std::byte const*>(memory) - base_)};
    }
    auto pointer(hpa address) -> void* { return base_ + address.value; }

    auto processor() -> unsigned { return 0; }
    auto processor_count() -> unsigned { return 1; }
    auto cpuid(std::uint32_t function, std::uint32_t index) -> x86::cpuid_result {
        for (auto const& leaf : leaves_)
            if (leaf.function == function and leaf.index == index)
                return leaf.values;
        return {};
    }
    auto read_msr(std::uint32_t) -> result<std::uint64_t> { return status::not_found; }
    auto write_msr(std::uint32_t, std::uint64_t) -> status { return status::not_permitted; }

    auto now() -> nanoseconds { return clock_.at(tsc_); }
    auto tsc() -> std::uint64_t { return tsc_; }
    static constexpr auto tsc_lead() -> std::int64_t { return 0; }
    auto tsc_frequency() -> std::uint64_t { return clock_.frequency(); }
    auto wall_clock() -> std::int64_t { return now(); }

    void arm_timer(nanoseconds when) { armed_ = when; }
    void take_interrupts() {}
    void idle() {
        if (armed_ == INT64_MAX)
            panic("the guest waits for nothing");
        if (clock_.tsc_at(armed_) > tsc_)
            tsc_ = clock_.tsc_at(armed_);
    }
    void kick(unsigned) {}
    void wake(unsigned) {}
    auto is_woken() -> bool { return false; }
    auto should_yield() -> bool { return false; }
    void give_way() {}

    void load_guest_fpu(fpu_area&) {}
    void save_guest_fpu(fpu_area&) {}

    void put(std::uint8_t, std::uint8_t byte) { written_ = byte; }
    auto get() -> int { return -1; }
    void log(std::string_view) {}
    [[noreturn]] void panic(std::string_view why) {
        std::fprintf(stderr, "replay: %.*s\n", static_cast<int>(why.size()), why.data());
        std::exit(1);
    }

    void set_tsc(std::uint64_t value) { tsc_ = value; }
    /// Power-on: nothing is allocated, all memory reads as zeros.
    void reset() {
        ::madvise(base_, used_, MADV_DONTNEED);
        used_ = page_size;
        tsc_ = 0;
        armed_ = INT64_MAX;
    }

  private:
    static constexpr std::size_t size{std::size_t{1} << 30}, alignment{std::size_t{2} << 20};

    bare::tsc_clock clock_;
    std::uint64_t tsc_{};
    nanoseconds armed_{INT64_MAX};
    std::byte* base_{};
    std::size_t used_{page_size};
    std::uint8_t volatile written_{};
    std::vector<cpuid_leaf> leaves_;
};
static_assert(hv::host<host>);

} // namespace hv::replay
