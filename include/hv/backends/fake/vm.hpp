// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/status.hpp>

namespace hv::backends::fake {

/// What the machine asked for.
class vm {
  public:
    vm_controls controls{};

    template <typename Host>
    [[nodiscard]] auto create(Host& host, vm_controls const& wanted) -> status {
        destroy(host);
        page_ = host.allocate(page_size, page_size);
        if (page_ == nullptr)
            return status::out_of_memory;
        controls = wanted;
        return status::ok;
    }
    template <typename Host>
    void destroy(Host& host) {
        if (page_ != nullptr)
            host.free(page_, page_size);
        page_ = nullptr;
    }

  private:
    void* page_{};
};

} // namespace hv::backends::fake
