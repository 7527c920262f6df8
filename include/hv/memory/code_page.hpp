// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/memory/guest_memory.hpp>
#include <hv/memory/guest_walk.hpp>
#include <hv/memory/paging_mode.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// What decides how a processor fetches, as its backend keeps it: equal ones mean the same.
using fetch_state = std::array<std::uint64_t, 3>;

/// The page that a guest's 64-bit instructions were last fetched from, with every paging entry on the way to it. As
/// long as all of them hold what they held, the next fetch from the page leads there too: a walk without its decisions,
/// which sees each change of the guest's tables as a walk does.
///
/// It keeps entries as host pointers: to be forgotten when memory is unmapped, as hv::exclusive_access does.
class code_page {
  public:
    /// A host pointer to the byte at `linear`, good to the end of its page; null: `walk`.
    [[nodiscard, gnu::always_inline]] auto find(fetch_state const& registers, gva linear) const -> std::byte const* {
        auto differs = (linear.value ^ first_.value) >> page_shift;
        for (unsigned i{0}; i != registers.size(); ++i)
            differs |= registers[i] ^ registers_[i];
        if (differs != 0) [[unlikely]]
            return nullptr;
        for (auto const& e : way_)
            if (__atomic_load_n(e.at, __ATOMIC_RELAXED) != e.value) [[unlikely]]
                return nullptr;
        if (page_ == nullptr)
            __builtin_unreachable(); // no page is `nowhere`
        return page_ + linear.page_offset();
    }

    /// Walks to `linear`, which is canonical, as `translate` does for a fetch, and keeps the way; null if the walk
    /// fails or leads to no memory. `registers` are those of a processor in 64-bit mode, and `state` what they mean.
    template <guest_memory M>
    [[nodiscard, gnu::noinline]] auto walk(M& memory, fetch_state const& registers, paging_state const& state,
                                           gva linear) -> std::byte const* {
        forget();
        detail::walk_path<paging_4_level> path{};
        auto const found =
            detail::walk<paging_4_level, accessed_dirty::set>(memory, state, linear.value, access::execute, &path);
        std::byte const* const code = found.ok ? memory.at(found.address, access::execute) : nullptr;
        if (code != nullptr)
            keep(memory, registers, linear, path, code);
        return code;
    }

    void forget() { first_ = nowhere; }

  private:
    struct entry {
        std::uint64_t const* at{};
        std::uint64_t value{};
    };

    template <guest_memory M>
    void keep(M& memory, fetch_state const& registers, gva linear, detail::walk_path<paging_4_level> const& path,
              std::byte const* code) {
        for (std::size_t i{path.size()}; i != 0; --i) {
            auto const& [where, value] = path[i - 1];
            if (value == 0) { // below a large page; `find` has one length for all
                way_[i - 1] = way_[i];
                continue;
            }
            auto const* const at = detail::entry_at<std::uint64_t>(memory, where, access::read);
            if (at == nullptr)
                return;
            way_[i - 1] = {at, value};
        }
        registers_ = registers;
        first_ = gva{linear.value - linear.page_offset()};
        page_ = code - linear.page_offset();
    }

    static constexpr gva nowhere{1ull << 62}; ///< not canonical

    std::array<entry, paging_4_level::levels> way_{};
    fetch_state registers_{};
    gva first_{nowhere};
    std::byte const* page_{};
};

/// Several of them, each for the pages of some addresses: code calls other pages and comes back.
class code_pages {
  public:
    [[nodiscard, gnu::always_inline]] auto at(gva linear) -> code_page& {
        return pages_[linear.value >> page_shift & (pages_.size() - 1)];
    }
    void forget() {
        for (auto& page : pages_)
            page.forget();
    }

  private:
    std::array<code_page, 8> pages_{};
};

} // namespace hv
