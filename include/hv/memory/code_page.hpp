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

/// The page that a guest's instructions were last fetched from, with every paging entry on the way to it. As long as
/// all of them hold what they held, the next fetch from the page leads there too: a walk without its decisions, which
/// sees each change of the guest's tables as a walk does.
///
/// It keeps entries as host pointers: to be forgotten when memory is unmapped.
class code_page {
  public:
    /// A host pointer to the byte at `linear`, good to the end of its page; null: `walk`.
    [[nodiscard, gnu::always_inline]] auto find(paging_state const& state, gva linear) const -> std::byte const* {
        auto const differs = (linear.value ^ first_.value) >> page_shift | (state.cr3 ^ state_.cr3) |
                             (state.cr0 ^ state_.cr0) | (state.cr4 ^ state_.cr4) | (state.efer ^ state_.efer) |
                             static_cast<std::uint64_t>(state.cpl ^ state_.cpl);
        if (differs != 0 or page_ == nullptr)
            return nullptr;
        for (auto const& e : way_)
            if (__atomic_load_n(e.at, __ATOMIC_RELAXED) != e.value)
                return nullptr;
        return page_ + linear.page_offset();
    }

    /// Walks to `linear` as `translate` does for a fetch; null if the walk fails or leads to no memory. Ways of long
    /// mode are kept.
    template <guest_memory M>
    [[nodiscard, gnu::noinline]] auto walk(M& memory, paging_state const& state, gva linear) -> std::byte const* {
        forget();
        if ((state.cr0 & x86::cr0::pg) == 0 or (state.efer & x86::efer::lma) == 0) {
            auto const found = translate(memory, state, linear, access::execute);
            return found.ok ? memory.at(found.address, access::execute) : nullptr;
        }
        detail::walk_path<paging_4_level> path{};
        auto const found = detail::walk<paging_4_level, accessed_dirty::set_atomically>(memory, state, linear.value,
                                                                                        access::execute, &path);
        std::byte const* const code = found.ok ? memory.at(found.address, access::execute) : nullptr;
        if (code != nullptr)
            keep(memory, state, linear, path, code);
        return code;
    }

    void forget() { page_ = nullptr; }

  private:
    struct entry {
        std::uint64_t const* at{};
        std::uint64_t value{};
    };

    template <guest_memory M>
    void keep(M& memory, paging_state const& state, gva linear, detail::walk_path<paging_4_level> const& path,
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
        state_ = state;
        first_ = gva{linear.value - linear.page_offset()};
        page_ = code - linear.page_offset();
    }

    std::array<entry, paging_4_level::levels> way_{};
    paging_state state_{};
    gva first_{};
    std::byte const* page_{};
};

} // namespace hv
