// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <new>
#include <stdexcept>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define HV_HOSTED_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HV_HOSTED_POISON 1
#endif
#endif
#if defined(HV_HOSTED_POISON)
#include <sanitizer/asan_interface.h>
#endif

namespace hv::hosted {

/// Physical memory of the hosted host: one stretch of address space whose physical addresses differ from its pointers,
/// so that code which confuses the two is caught. Memory that nobody owns is poisoned under AddressSanitizer, and a
/// free page lies behind every allocation. A wrong argument throws: it is the test's or the library's defect.
class arena {
  public:
    static constexpr std::uint64_t first_physical{0x40'0000'0000};
    static constexpr std::size_t base_alignment{std::size_t{1} << 30};

    explicit arena(std::size_t bytes) : size_{bytes} {
        // One alignment more than asked for, so that physical and virtual alignment agree up to 1 GiB.
        mapped_ = bytes + base_alignment;
        mapping_ = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapping_ == MAP_FAILED)
            throw std::bad_alloc{};
        auto const start = reinterpret_cast<std::uintptr_t>(mapping_);
        auto const up = (base_alignment - start % base_alignment) % base_alignment;
        base_ = static_cast<std::byte*>(mapping_) + up;
        poison(base_, size_);
    }
    arena(arena const&) = delete;
    auto operator=(arena const&) -> arena& = delete;
    ~arena() {
        unpoison(base_, size_);
        ::munmap(mapping_, mapped_);
    }

    /// Zeroed; null if no gap is large enough.
    [[nodiscard]] auto allocate(std::size_t bytes, std::size_t alignment) -> void* {
        if (bytes == 0 or alignment < page_size or (alignment & (alignment - 1)) != 0 or alignment > base_alignment)
            throw std::logic_error{
                "hosted: allocation of no bytes, or its alignment is no power of two from a page up"};
        if (bytes > size_)
            return nullptr;
        auto const whole = rounded(bytes);
        auto at = gap(next_, whole, alignment);
        if (at == size_)
            at = gap(0, whole, alignment);
        if (at == size_)
            return nullptr;
        next_ = at + whole + page_size; // what was freed last is used again last
        used_.emplace(at, bytes);
        in_use_ += whole;
        unpoison(base_ + at, whole);
        return base_ + at;
    }

    void free(void* memory, std::size_t bytes) {
        auto const at = static_cast<std::size_t>(static_cast<std::byte*>(memory) - base_);
        auto const found = used_.find(at);
        if (found == used_.end() or found->second != bytes)
            throw std::logic_error{"hosted: free of something that was not allocated, or of another size"};
        auto const whole = rounded(bytes);
        ::madvise(memory, whole, MADV_DONTNEED); // reads as zeros again
        poison(base_ + at, whole);
        in_use_ -= whole;
        used_.erase(found);
    }

    [[nodiscard]] auto physical(void const* memory) const -> hpa {
        auto const at = static_cast<std::byte const*>(memory) - base_;
        if (not owns(static_cast<std::size_t>(at)))
            throw std::logic_error{"hosted: physical address of memory that is not allocated"};
        return hpa{first_physical + static_cast<std::uint64_t>(at)};
    }
    [[nodiscard]] auto pointer(hpa physical) const -> void* {
        auto const at = static_cast<std::size_t>(physical.value - first_physical);
        if (not owns(at))
            throw std::logic_error{"hosted: pointer to a physical address that is not allocated"};
        return base_ + at;
    }

    [[nodiscard]] auto allocations() const -> std::size_t { return used_.size(); }
    [[nodiscard]] auto bytes_in_use() const -> std::size_t { return in_use_; }

  private:
    [[nodiscard]] static constexpr auto rounded(std::size_t bytes) -> std::size_t {
        return (bytes + page_size - 1) & ~std::size_t{page_size - 1};
    }
    /// Start of the first gap from `from` on that holds so much and its guard page; `size_` if there is none.
    [[nodiscard]] auto gap(std::size_t from, std::size_t whole, std::size_t alignment) const -> std::size_t {
        auto const up = [alignment](std::size_t n) { return (n + alignment - 1) & ~(alignment - 1); };
        auto at = up(from);
        for (auto next = used_.lower_bound(from); next != used_.end(); ++next) {
            if (at <= next->first and next->first - at >= whole + page_size)
                return at;
            auto const end = next->first + rounded(next->second) + page_size;
            at = end > at ? up(end) : at;
        }
        return at <= size_ and size_ - at >= whole + page_size ? at : size_;
    }
    [[nodiscard]] auto owns(std::size_t at) const -> bool {
        auto const after = used_.upper_bound(at);
        if (after == used_.begin())
            return false;
        auto const owner = std::prev(after);
        return at - owner->first < rounded(owner->second);
    }
    static void poison([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(HV_HOSTED_POISON)
        ASAN_POISON_MEMORY_REGION(memory, bytes);
#endif
    }
    static void unpoison([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(HV_HOSTED_POISON)
        ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
#endif
    }

    std::size_t size_;
    std::size_t mapped_{};
    void* mapping_{};
    std::byte* base_{};
    std::size_t in_use_{};
    std::size_t next_{};
    std::map<std::size_t, std::size_t> used_{};
};

} // namespace hv::hosted
