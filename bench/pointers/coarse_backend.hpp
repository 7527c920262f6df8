// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/pointers/exit_table.hpp>
#include <bench/pointers/operations.hpp>

#include <hv/exit.hpp>
#include <hv/status.hpp>

namespace hv::pointers {

/// A backend of which only `enter` is called through a pointer, and which calls every exit handler through one: the
/// least that a table of backends needs. Registers are reached directly, as where the service of an exit is the
/// backend's own.
template <typename Backend, typename Host>
struct coarse_backend : Backend {
    class processor : public Backend::processor {
      public:
        [[nodiscard]] auto enable(Host& host) -> status {
            auto const done = Backend::processor::enable(host);
            if (done == status::ok)
                operations_ = &operations_of<Backend, Host>;
            return done;
        }

      private:
        friend coarse_backend;
        operations<Backend, Host> const* operations_{};
    };

    template <typename Handler>
    [[nodiscard, gnu::always_inline]] static auto enter(Host& host, processor& on, typename Backend::vcpu& cpu,
                                                        Handler& handler) -> verdict {
        exit_sink sink{.handler = &handler, .table = &exit_table_of<Handler>};
        return on.operations_->enter(host, on, cpu, sink);
    }
};

} // namespace hv::pointers
