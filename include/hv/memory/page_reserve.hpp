// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/host.hpp>

#include <cstddef>
#include <cstdint>

namespace hv {

/// Zeroed pages set aside before a change begins, so that it cannot fail half-way. They are chained through their own
/// first words: nothing else is needed to hold any number of them.
template <host Host>
class page_reserve {
  public:
    /// All `count` pages, or none and false.
    [[nodiscard, gnu::cold]] auto fill(Host& host, std::size_t count) -> bool {
        for (; count != 0; --count) {
            auto* const page = static_cast<void**>(host.allocate(page_size, page_size));
            if (page == nullptr) {
                release(host);
                return false;
            }
            *page = first_;
            first_ = page;
        }
        return true;
    }

    /// The next page, zeroed; null if more is taken than was set aside.
    [[nodiscard]] auto take() -> void* {
        auto* const page = first_;
        if (page != nullptr) {
            first_ = static_cast<void**>(*page);
            *page = nullptr;
        }
        return page;
    }

    /// Gives back what was not taken.
    void release(Host& host) {
        while (auto* const page = take())
            host.free(page, page_size);
    }

  private:
    void** first_{};
};

} // namespace hv
