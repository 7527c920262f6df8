// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>
#include <hv/x86/registers.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv {

/// What a kernel must provide so that machines can run on it. Two exist: bare (kernel_glue/bare) and hosted (user
/// space, for tests). All calls happen on the thread that called into the library unless a line says otherwise.
template <typename H>
concept host = requires(H& h, std::size_t bytes, std::size_t alignment, void* memory, hpa physical, nanoseconds when,
                        std::uint32_t index, std::uint64_t value, unsigned processor, std::string_view text,
                        std::uint8_t byte, typename H::lock& lock, typename H::fpu_area& fpu) {
    /// True if no two threads ever call into one vm at the same time and there is one processor: then locks are empty.
    { H::callers_are_serial } -> std::convertible_to<bool>;

    // Memory. Zeroed, physically contiguous, aligned to a power of two that is at least the page size; null if there
    // is none. The bytes are zeroed again before anybody else gets them.
    { h.allocate(bytes, alignment) } -> std::same_as<void*>;
    { h.free(memory, bytes) } -> std::same_as<void>;
    { h.physical(memory) } -> std::same_as<hpa>;
    { h.pointer(physical) } -> std::same_as<void*>;

    // Processor. MSR accesses report a #GP instead of dying of it.
    { h.processor() } -> std::same_as<unsigned>;
    { h.processor_count() } -> std::same_as<unsigned>;
    { h.cpuid(index, index) } -> std::same_as<x86::cpuid_result>;
    { h.read_msr(index) } -> std::same_as<result<std::uint64_t>>;
    { h.write_msr(index, value) } -> std::same_as<status>;

    // Time. `now` is monotonic, in nanoseconds from some fixed point; `tsc` is the counter that RDTSC reads, and both
    // are tied by `tsc_frequency`. They are the same on all processors: where RDTSC of the present one reads another
    // value, `tsc_lead` is how much more. `wall_clock` counts nanoseconds since 1970-01-01T00:00Z.
    { h.now() } -> std::same_as<nanoseconds>;
    { h.tsc() } -> std::same_as<std::uint64_t>;
    { h.tsc_lead() } -> std::same_as<std::int64_t>;
    { h.tsc_frequency() } -> std::same_as<std::uint64_t>;
    { h.wall_clock() } -> std::same_as<std::int64_t>;

    // Interrupts. The library runs with the processor's interrupts off. `arm_timer` asks for an interrupt on this
    // processor at or soon after an absolute time on the clock of `now` (INT64_MAX: none).
    // `take_interrupts` lets pending ones in and returns with interrupts off. `idle` halts until an interrupt came.
    // `kick` makes another processor leave its guest, to look what is new; `wake` makes any look which of its vCPUs are
    // to be run. `is_woken`: this one is to look. `should_yield`: also if the turn of the one that runs is over.
    // `give_way`: the one that runs waits for another; this processor is to look if any other of its vCPUs is ready.
    { h.arm_timer(when) } -> std::same_as<void>;
    { h.take_interrupts() } -> std::same_as<void>;
    { h.idle() } -> std::same_as<void>;
    { h.kick(processor) } -> std::same_as<void>;
    { h.wake(processor) } -> std::same_as<void>;
    { h.is_woken() } -> std::same_as<bool>;
    { h.should_yield() } -> std::same_as<bool>;
    { h.give_way() } -> std::same_as<void>;

    // Several processors. `wait_while` returns when the word no longer reads `index`, or sooner; whoever changes a word
    // that somebody may wait for calls `announce`.
    requires H::callers_are_serial or requires(std::atomic<std::uint32_t>& word) {
        { h.wait_while(word, index) } -> std::same_as<void>;
        { h.announce(word) } -> std::same_as<void>;
    };

    // Guest FPU. `load_guest_fpu` makes the guest's x87/SSE/AVX registers current and keeps the host's if it has any.
    { h.load_guest_fpu(fpu) } -> std::same_as<void>;
    { h.save_guest_fpu(fpu) } -> std::same_as<void>;

    { lock.acquire() } -> std::same_as<void>;
    { lock.release() } -> std::same_as<void>;

    // Console: bytes of stream N (0 is the console; others may be dropped), input of the console or -1.
    { h.put(byte, byte) } -> std::same_as<void>;
    { h.get() } -> std::same_as<int>;

    // Diagnostics. `log` takes a whole line without its end. `panic` is for broken invariants of the host itself.
    { h.log(text) } -> std::same_as<void>;
    { h.panic(text) } -> std::same_as<void>;
};

/// Whether CR2 of the host's processors is left alone while a vCPU is attached: the host takes no page fault meanwhile.
/// Such a host says so by `static constexpr bool keeps_cr2{true}`.
template <typename H>
inline constexpr bool keeps_cr2 = [] {
    if constexpr (requires { H::keeps_cr2; })
        return H::keeps_cr2;
    else
        return false;
}();

} // namespace hv
