// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

namespace hv::bare {

/// Zeroes whole pages.
inline void zero_pages(void* memory, std::uint64_t bytes) {
    auto words = bytes / 8;
    asm volatile("rep stosq" : "+D"(memory), "+c"(words) : "a"(0) : "memory");
}

/// Hands out contiguous physical memory from extents, first fit, lowest address first. Free memory itself
/// holds the list of what is free, in order of address: no table can overflow, and neighbours merge. Memory is reached
/// at its physical address.
class page_allocator {
  public:
    constexpr page_allocator() = default;
    page_allocator(page_allocator const&) = delete;
    auto operator=(page_allocator const&) -> page_allocator& = delete;

    /// Gives [first, end) to the allocator, less what is not a whole page. Page 0 is never handed out.
    void add(std::uint64_t first, std::uint64_t end) {
        first = first < page_size ? page_size : (first + page_size - 1) & ~(page_size - 1);
        end &= ~(page_size - 1);
        if (first < end)
            insert(first, end - first);
    }

    /// Zeroed memory whose start is a multiple of `alignment`, a power of two; null if there is none.
    [[nodiscard]] auto allocate(std::uint64_t bytes, std::uint64_t alignment) -> void* {
        if (bytes == 0 or bytes > UINT64_MAX - page_size or alignment == 0 or (alignment & (alignment - 1)) != 0)
            return nullptr;
        bytes = (bytes + page_size - 1) & ~(page_size - 1);
        alignment = alignment < page_size ? page_size : alignment;
        for (auto** link = &free_; *link != nullptr; link = &(*link)->next) {
            auto* const e = *link;
            auto const skipped = (alignment - e->start() % alignment) % alignment;
            if (e->size < skipped or e->size - skipped < bytes)
                continue;
            auto const start = e->start() + skipped;
            auto const rest = e->size - skipped - bytes;
            auto* tail = e->next;
            if (rest != 0)
                tail = make(start + bytes, rest, e->next);
            if (skipped != 0) {
                e->size = skipped;
                e->next = tail;
            } else {
                *link = tail;
            }
            available_ -= bytes;
            auto* const memory = reinterpret_cast<void*>(start);
            zero_pages(memory, bytes);
            return memory;
        }
        return nullptr;
    }

    /// Takes back what `allocate` gave, whole or page by page. False, and nothing happens, if a part of it is free
    /// already.
    [[nodiscard]] auto free(void* memory, std::uint64_t bytes) -> bool {
        auto const start = reinterpret_cast<std::uint64_t>(memory);
        if (start == 0 or bytes == 0)
            return true;
        bytes = (bytes + page_size - 1) & ~(page_size - 1);
        if (start % page_size != 0 or overlaps(start, bytes))
            return false;
        zero_pages(memory, bytes);
        insert(start, bytes);
        return true;
    }

    [[nodiscard]] auto available() const -> std::uint64_t { return available_; }

    /// The longest stretch that is free.
    [[nodiscard]] auto largest() const -> std::uint64_t {
        std::uint64_t most{0};
        for (auto const* e = free_; e != nullptr; e = e->next)
            most = e->size > most ? e->size : most;
        return most;
    }

  private:
    /// Lies in the first bytes of each free extent.
    struct extent {
        std::uint64_t size;
        extent* next;

        [[nodiscard]] auto start() const -> std::uint64_t { return reinterpret_cast<std::uint64_t>(this); }
        [[nodiscard]] auto end() const -> std::uint64_t { return start() + size; }
    };

    static auto make(std::uint64_t start, std::uint64_t size, extent* next) -> extent* {
        return new (reinterpret_cast<void*>(start)) extent{size, next};
    }

    [[nodiscard]] auto overlaps(std::uint64_t start, std::uint64_t bytes) const -> bool {
        for (auto const* e = free_; e != nullptr; e = e->next)
            if (start < e->end() and e->start() < start + bytes)
                return true;
        return false;
    }

    void insert(std::uint64_t start, std::uint64_t bytes) {
        extent* below{nullptr};
        auto* above = free_;
        while (above != nullptr and above->start() < start) {
            below = above;
            above = above->next;
        }
        available_ += bytes;
        if (above != nullptr and start + bytes == above->start()) {
            bytes += above->size;
            above = above->next;
        }
        if (below != nullptr and below->end() == start) {
            below->size += bytes;
            below->next = above;
            return;
        }
        auto* const e = make(start, bytes, above);
        (below != nullptr ? below->next : free_) = e;
    }

    extent* free_{nullptr};
    std::uint64_t available_{0};
};

} // namespace hv::bare
