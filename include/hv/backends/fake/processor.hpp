// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/backends/fake/translation_cache.hpp>
#include <hv/status.hpp>

#include <cstdint>

namespace hv::backends::fake {

/// A processor that can do everything, with what it remembers of nested tables.
class processor {
  public:
    processor_report report{.next_rip = true,
                            .decode_assist = true,
                            .flush_by_asid = true,
                            .clean_bits = true,
                            .tsc_scaling = true,
                            .xsaves = true,
                            .xsetbv_intercepted = true,
                            .address_spaces = 16}; ///< what `examine` answers; a test may take things away
    translation_cache translations{};
    std::uint64_t next_tag{1};
    bool enabled{};

    template <typename Host>
    [[nodiscard]] auto examine(Host&) -> processor_report {
        return report;
    }
    template <typename Host>
    [[nodiscard]] auto enable(Host&) -> status {
        if (enabled)
            return status::busy;
        enabled = report.verdict == status::ok;
        return report.verdict;
    }
    template <typename Host>
    void disable(Host&) {
        enabled = false;
        translations.flush_all();
    }
};

} // namespace hv::backends::fake
