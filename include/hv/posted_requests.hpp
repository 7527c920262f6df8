// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/interrupt.hpp>
#include <hv/run_requests.hpp>
#include <hv/x86/apic.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace hv {

/// What other threads ask of a virtual processor. Anybody may post, only the processor takes; nothing of it waits for
/// anybody, and nothing is lost. Local APIC and event queue stay the processor's own for that.
class posted_requests {
  public:
    /// What was posted besides vectors.
    enum class request : std::uint32_t {
        nmi = 1u << 0,
        external = 1u << 1, ///< ExtINT: the 8259 has the vector
        init = 1u << 2,
        start_up = 1u << 3,   ///< its vector lies in bits 8-15
        lint0 = 1u << 4,      ///< an edge there
        look = 1u << 5,       ///< at the machine: a deadline or the memory map moved
        debugger = 1u << 7,   ///< it suspended this processor, or resumed it; from bit 16 on: ends of `run`
        vectors = 0xfu << 24, ///< a bit for each word of them
    };

    /// Takes a message for this processor. True if nothing was waiting: then the poster has to make the processor look.
    [[nodiscard]] auto post(interrupt_message const& message) -> bool {
        switch (message.mode) {
        case delivery_mode::fixed:
        case delivery_mode::lowest_priority: {
            auto const word = message.vector / 64u;
            auto const bit = std::uint64_t{1} << message.vector % 64;
            if (((level_[word].load(std::memory_order_relaxed) & bit) != 0) != message.level) [[unlikely]] {
                if (message.level)
                    level_[word].fetch_or(bit, std::memory_order_relaxed);
                else
                    level_[word].fetch_and(~bit, std::memory_order_relaxed);
            }
            vectors_[word].fetch_or(bit, std::memory_order_relaxed);
            return exchange(0, first_word << word);
        }
        case delivery_mode::nmi:
            return post(request::nmi);
        case delivery_mode::external:
            return post(request::external);
        case delivery_mode::init:
            return exchange(before_init(), number(request::init));
        case delivery_mode::start_up:
            if (has(request::start_up)) // the processor runs after the first, and ignores the next
                return false;
            return exchange(start_up_vector, number(request::start_up) | std::uint32_t{message.vector} << 8);
        default:
            return false; // no SMI in a virtual machine; the rest is reserved
        }
    }
    [[nodiscard]] auto post(request what) -> bool { return exchange(0, number(what)); }
    [[nodiscard]] auto post(run_end what) -> bool { return exchange(0, number(what)); }

    /// Takes back INIT and start-up.
    void drop_start() { (void)exchange(number(request::init) | number(request::start_up) | start_up_vector, 0); }

    /// Whether something waits.
    [[nodiscard]] auto any() const -> bool { return flags_.load(std::memory_order_acquire) != 0; }

    /// All that was posted, once.
    struct taken {
        std::uint32_t flags{};
        std::array<std::uint64_t, 4> vectors{};
        std::array<std::uint64_t, 4> level{};

        [[nodiscard]] constexpr auto has(request what) const -> bool { return (flags & number(what)) != 0; }
        [[nodiscard]] constexpr auto start_up_page() const -> std::uint8_t {
            return static_cast<std::uint8_t>(flags >> 8);
        }
        /// For hv::run_requests.
        [[nodiscard]] constexpr auto ends() const -> std::uint8_t { return static_cast<std::uint8_t>(flags >> 16); }
        /// Calls `accept` with a message for each vector.
        void for_each_vector(auto&& accept) const {
            for_each_word([&](unsigned word) {
                for (auto rest = vectors[word]; rest != 0; rest &= rest - 1) {
                    auto const bit = static_cast<unsigned>(std::countr_zero(rest));
                    accept(interrupt_message{.vector = static_cast<std::uint8_t>(word * 64 + bit),
                                             .level = (level[word] >> bit & 1) != 0});
                }
            });
        }
        /// Calls `visit` with the number of each word that may have vectors.
        void for_each_word(auto&& visit) const {
            for (auto rest = flags / first_word; rest != 0; rest &= rest - 1)
                visit(static_cast<unsigned>(std::countr_zero(rest)));
        }
    };
    /// What of it is no vector, while it goes on waiting.
    [[nodiscard]] auto waiting() const -> taken { return {.flags = flags_.load(std::memory_order_relaxed)}; }
    [[nodiscard]] auto take() -> taken { return with_vectors(flags_.exchange(0, std::memory_order_acq_rel)); }
    /// Only what a local APIC and an event queue keep. Nothing while an INIT waits, which comes before all of it.
    [[nodiscard]] auto take_interrupts() -> taken {
        auto now = flags_.load(std::memory_order_relaxed);
        do
            if ((now & number(request::init)) != 0)
                return {};
        while (not flags_.compare_exchange_weak(now, now & ~interrupts(), std::memory_order_acq_rel));
        return with_vectors(now & interrupts());
    }

    void clear() { (void)take(); }
    /// Drops what a reset of the processor drops: messages, not what others ask of `run`.
    void drop_messages() {
        flags_.fetch_and(0x00ff'0000 | number(request::debugger), std::memory_order_acq_rel);
        for (auto& word : vectors_)
            word.store(0, std::memory_order_relaxed);
    }

  private:
    static constexpr std::uint32_t start_up_vector{0xff00};
    static constexpr std::uint32_t first_word{1u << 24}; ///< of request::vectors, which are the highest bits
    [[nodiscard]] static constexpr auto number(request what) -> std::uint32_t {
        return static_cast<std::uint32_t>(what);
    }
    [[nodiscard]] static constexpr auto number(run_end what) -> std::uint32_t { return std::uint32_t{bit(what)} << 16; }

    [[nodiscard]] static constexpr auto interrupts() -> std::uint32_t {
        return number(request::nmi) | number(request::external) | number(request::lint0) | number(request::vectors);
    }
    /// What INIT clears of what came before it. Vectors find a software-disabled APIC then.
    [[nodiscard]] static constexpr auto before_init() -> std::uint32_t {
        return (interrupts() & ~number(request::vectors)) | number(request::start_up) | start_up_vector;
    }

    [[nodiscard]] auto with_vectors(std::uint32_t flags) -> taken {
        taken all{.flags = flags};
        all.for_each_word([&](unsigned word) {
            all.vectors[word] = vectors_[word].exchange(0, std::memory_order_acq_rel);
            all.level[word] = level_[word].load(std::memory_order_relaxed);
        });
        return all;
    }

    [[nodiscard]] auto has(request what) const -> bool {
        return (flags_.load(std::memory_order_relaxed) & number(what)) != 0;
    }
    auto exchange(std::uint32_t drop, std::uint32_t add) -> bool {
        auto now = flags_.load(std::memory_order_relaxed);
        while (not flags_.compare_exchange_weak(now, (now & ~drop) | add, std::memory_order_acq_rel))
            continue;
        return now == 0;
    }

    std::atomic<std::uint32_t> flags_{};
    std::array<std::atomic<std::uint64_t>, 4> vectors_{};
    std::array<std::atomic<std::uint64_t>, 4> level_{};
};

} // namespace hv
