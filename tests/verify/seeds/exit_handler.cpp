// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

namespace hv {
struct service {
    [[gnu::noinline]] static auto on(unsigned long exit) -> bool { return exit != state; }
};
} // namespace hv

auto serve(unsigned long exit) -> bool {
    return hv::service::on(exit) and exit != 0;
}
