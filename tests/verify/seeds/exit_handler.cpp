// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

// Two services of exits, the second of which ends up in the code of its caller.
namespace hv {
namespace exits {
struct port {
    unsigned long value;
};
struct pause {
    unsigned long value;
};
} // namespace exits
struct service {
    [[gnu::noinline]] static auto on(exits::port const& exit) -> bool { return exit.value != state; }
    [[gnu::always_inline]] static auto on(exits::pause const& exit) -> bool {
        asm volatile("pause");
        return exit.value != state;
    }
};
} // namespace hv

auto serve(unsigned long exit) -> bool {
    return hv::service::on(hv::exits::port{exit}) and hv::service::on(hv::exits::pause{exit});
}
