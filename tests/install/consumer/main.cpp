// SPDX-License-Identifier: BSD-2-Clause
#include <hv/meta/tuple.hpp>
#include <hv/status.hpp>

auto main() -> int {
    return hv::result<int>{hv::status::busy} ? 1 : 0;
}
