// SPDX-License-Identifier: BSD-2-Clause
// What libstdc++'s headers call when a precondition is broken; without optimisation such calls stay even where the
// compiler could see that none is.
#include "host.hpp"

#include <bits/functexcept.h>

namespace std {

void __throw_out_of_range_fmt(char const* why, ...) {
    hv::bare::this_host().panic(why);
}
void __throw_out_of_range(char const* why) {
    hv::bare::this_host().panic(why);
}
void __throw_length_error(char const* why) {
    hv::bare::this_host().panic(why);
}

} // namespace std
