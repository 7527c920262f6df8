// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "descriptor_tables.hpp"
#include "host.hpp"
#include "instructions.hpp"
#include "stacks.hpp"
#include "tsc_exchange.hpp"

#include <hv/lock_order.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::bare {

/// How a processor of the host stands with the others. One that comes too late, or could not be compared with the
/// first, stays out for good.
enum class standing : std::uint8_t { absent, arrived, counted, left_out };

/// One processor of the host, where an image uses several. GS leads to it. What others read or write lies apart from
/// what only the processor itself does.
struct alignas(64) processor {
    processor* self{};
    std::uint64_t number{};
    nanoseconds armed{INT64_MAX};     ///< when its timer interrupts: the earlier of the next two
    nanoseconds wanted{INT64_MAX};    ///< by who runs on it
    nanoseconds slice_end{INT64_MAX}; ///< of who runs on it
    bool others_ready{};              ///< vCPUs that could run in its place
    locks_held locks{};               ///< of who runs on it, where their order is checked
    std::uint64_t timer_interrupts{};
    std::int64_t tsc_lead{}; ///< ticks that its counter is ahead of the first's
    alignas(64) std::uint32_t apic_id{};
    std::atomic<bool> must_look{false}; ///< somebody else could run
    std::atomic<standing> stands{standing::absent};
    std::atomic<std::uint32_t> calls{0};  ///< how often others have asked it to flush
    std::atomic<std::uint32_t> served{0}; ///< how many of those it has done
    stacks* own_stacks{};
    alignas(64) processor_tables tables{};
    tsc_difference compared{}; ///< its counter with the first's
    tsc_exchange exchange{};
};
static_assert(offsetof(processor, self) == 0 and offsetof(processor, number) == 8, "this_processor knows the places");
static_assert(offsetof(processor, tsc_lead) < 64 and offsetof(processor, apic_id) == 64 and
              offsetof(processor, tables) == 128);

/// The processor that executes this.
[[nodiscard]] inline auto this_processor() -> processor& {
    processor* self;
    asm("movq %%gs:0, %0" : "=r"(self));
    return *self;
}
[[nodiscard]] inline auto this_processor_number() -> unsigned {
    std::uint64_t number;
    asm("movq %%gs:8, %0" : "=r"(number));
    return static_cast<unsigned>(number);
}

/// The program of each processor but the first, on its own stack, with interrupts off. Defined by the image.
extern "C" void hv_bare_run_processor(processor& self);

/// Makes the first `all.size()` processors of the board ready; the first of `all` becomes the one that calls. Answers
/// how many there are: fewer, if some did not come up. The others run hv_bare_run_processor once they are counted: they
/// wait for their standing.
[[nodiscard]] auto start_processors(host& h, std::span<processor> all) -> std::size_t;

/// Flushes the translations of all processors of `up` but the present one, and waits until they have. They take the
/// call where they take interrupts. SDM Vol. 3A, "Propagation of Page Table and Page Directory Entry Changes to
/// Multiple Processors".
void flush_others(host& h, std::span<processor> up);
/// What a processor does that was called.
void serve_calls(processor& self);

} // namespace hv::bare
