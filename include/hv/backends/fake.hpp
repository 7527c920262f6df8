// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/backends/fake/guest_run.hpp>
#include <hv/backends/fake/processor.hpp>
#include <hv/backends/fake/script.hpp>
#include <hv/backends/fake/vcpu.hpp>
#include <hv/backends/fake/vm.hpp>
#include <hv/exit.hpp>

#include <variant>

namespace hv {

struct npt_format;

/// A backend without hardware, for tests in user space: guests are scripts of exits and memory accesses
/// (hv/backends/fake/script.hpp), translations are remembered until they are flushed, and everything is recorded.
struct fake {
    static constexpr char const* name{"fake"};
    static constexpr hv::tsc_scaling tsc_scaling{.feature = "TSC scaling", .integer_bits = 16, .fraction_bits = 48};
    static constexpr bool has_no_processor{true}; ///< policies that only make a processor faster mean nothing here
    using nested_format = npt_format;
    using processor = backends::fake::processor;
    using vm = backends::fake::vm;
    using vcpu = backends::fake::vcpu;

    template <typename Host, typename Handler>
    [[nodiscard]] static auto enter(Host& host, processor& on, vcpu& cpu, Handler& handler) -> verdict {
        auto const exit = backends::fake::guest_run{on, cpu}.until_exit(host);
        return std::visit([&handler](auto const& e) { return handler.on(e); }, exit);
    }
};

} // namespace hv
